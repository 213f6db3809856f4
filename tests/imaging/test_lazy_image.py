"""Pictures: drawn when they are looked at, hashed once, and one for all who look at the same."""

import gc
import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from medgym.failures import ContractError
from medgym.imaging.lazy_image import Picture, image_hash
from medgym.imaging.study import Study
from medgym.workspace import Workspace


class Drawn:
    """Counts how often it is drawn."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Image.Image:
        self.times += 1
        return Image.new("RGB", (3, 2), (1, 2, 3))


def test_it_is_drawn_when_it_is_looked_at_and_forgotten_afterwards() -> None:
    draw = Drawn()
    picture = Picture((3, 2), draw)
    assert draw.times == 0
    held = picture.image
    assert picture.image is held
    assert draw.times == 1
    del held
    gc.collect()
    assert picture.image.size == (3, 2)
    assert draw.times == 2


def test_it_is_hashed_once_however_many_ask() -> None:
    draw = Drawn()
    picture = Picture((3, 2), draw)
    start = Barrier(8)

    def ask(_: int) -> str:
        start.wait()
        return picture.sha256

    with ThreadPoolExecutor(8) as threads:
        hashes = set(threads.map(ask, range(8)))
    assert hashes == {image_hash(Image.new("RGB", (3, 2), (1, 2, 3)))}
    assert draw.times == 1


def test_a_hash_is_of_mode_size_and_pixels() -> None:
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    assert image_hash(image) == hashlib.sha256(b"RGB:3x2:" + image.tobytes()).hexdigest()


def test_what_travels_is_the_picture() -> None:
    picture = Picture((3, 2), Drawn())
    there = pickle.loads(pickle.dumps(picture))
    assert (there.size, there.sha256) == (picture.size, picture.sha256)


def study() -> Study:
    return Study(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8))


def test_members_of_a_group_share_what_they_look_at() -> None:
    shared = study()
    one, other = Workspace([shared], view_size=16), Workspace([shared], view_size=16)
    assert one.view(0).shown is other.view(0).shown
    box_px = (8.0, 8.0, 24.0, 24.0)
    looks = [w.look(0, box_px, enlarge=True, made_by="zoom") for w in (one, other)]
    assert looks[0].shown is looks[1].shown
    elsewhere = other.look(0, (8.0, 8.0, 24.0, 25.0), enlarge=True, made_by="zoom")
    assert elsewhere.shown is not looks[0].shown


def test_others_share_nothing() -> None:
    one, other = (Workspace([study()], view_size=16) for _ in range(2))
    assert one.view(0).shown is not other.view(0).shown
    coarse = Workspace(one.studies, view_size=8)
    assert coarse.view(0).shown is not one.view(0).shown


@pytest.mark.parametrize("image", [Image.new("RGB", (300, 200)), Image.new("L", (3, 2))])
def test_what_is_drawn_is_what_was_announced(image: Image.Image) -> None:
    with pytest.raises(ContractError, match="was drawn as"):
        _ = Picture((3, 2), lambda: image).image
