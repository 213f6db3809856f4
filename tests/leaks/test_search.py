"""Planted leaks are found, and images that only share their anatomy are not taken for one."""

import io
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from PIL import Image

from medgym.imaging.rendering import Study
from medgym.imaging.study import ImageRef, Window, open_image
from medgym.leaks.fingerprint import Fingerprint, codes_of, fingerprint_of, pixel_hash, thumb_of
from medgym.leaks.search import CLOSE, NEAR, _within, is_near, near_pairs
from medgym.sources.phantom.modalities import APPEARANCES

Change = Callable[[Image.Image], Image.Image]


def jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(io.BytesIO(stream.getvalue()))


def cut(left: float, top: float, right: float, bottom: float) -> Change:
    def made(image: Image.Image) -> Image.Image:
        width, height = image.size
        sides = left * width, top * height, (1 - right) * width, (1 - bottom) * height
        return image.crop(tuple(map(round, sides)))  # type: ignore[arg-type]

    return made


CHANGES: dict[str, Change] = {
    "re-encoded": jpeg,
    "reduced": lambda image: image.resize((image.width // 2, image.height // 2)),
    "enlarged": lambda image: image.resize((400, 400), Image.Resampling.BICUBIC),
    "grey": lambda image: image.convert("L"),
    "cut by 5 % at a side": cut(0.05, 0, 0, 0),
    "cut by 5 % at each side": cut(0.05, 0.05, 0.05, 0.05),
    "cut at a corner": cut(0, 0.05, 0.05, 0),
    "cut anywhere": cut(0.013, 0.037, 0.037, 0.013),
    "all of it": lambda image: jpeg(cut(0.03, 0, 0.02, 0.03)(image).convert("L")),
}


@pytest.fixture(scope="module")
def phantoms() -> dict[str, list[Image.Image]]:
    """Of each look two of train, and four of test."""

    def drawn(split: str, count: int) -> list[Image.Image]:
        return [
            Image.fromarray(open_image(ImageRef(uri=f"phantom:{split}/{look}/256/{n}")).pixels)
            for look in APPEARANCES
            for n in range(count)
        ]

    return {"train": drawn("train", 2), "test": drawn("test", 4)}


def study(image: Image.Image) -> Study:
    return Study(np.asarray(image))


def prints(images: list[Image.Image]) -> list[Fingerprint]:
    return [fingerprint_of(study(image)) for image in images]


@pytest.mark.parametrize("change", CHANGES)
def test_planted_near_duplicates_are_found(
    change: str, phantoms: dict[str, list[Image.Image]]
) -> None:
    images = phantoms["train"]
    images = images + [CHANGES[change](image) for image in images]
    half = len(images) // 2
    apart = np.array([1] * half + [2] * half, np.uint64)
    pairs = near_pairs(prints(images), apart, lambda n: thumb_of(study(images[n]), CLOSE))
    found = {(pair.first, pair.second) for pair in pairs}
    assert {(n, n + half) for n in range(half)} <= found
    assert all(pair.likeness > 0.94 for pair in pairs)


def test_phantoms_of_two_splits_are_not_taken_for_one(
    phantoms: dict[str, list[Image.Image]],
) -> None:
    images = phantoms["train"] + phantoms["test"]
    apart = np.array([1] * 8 + [2] * 16, np.uint64)
    assert near_pairs(prints(images), apart, lambda n: thumb_of(study(images[n]), CLOSE)) == []


def test_codes_are_those_of_imagehash(phantoms: dict[str, list[Image.Image]]) -> None:
    thumb = thumb_of(study(phantoms["train"][0]))
    codes, picture = codes_of(thumb), Image.fromarray(thumb)
    for place, made in ((0, imagehash.phash(picture)), (1, imagehash.dhash(picture))):
        assert codes[0, place] == np.packbits(made.hash.ravel()).view(np.uint64)[0]
    long = np.packbits(imagehash.phash(picture, hash_size=16).hash.ravel()).view(np.uint64)
    assert (codes[0, 2:] == long).all()


def test_every_pair_of_near_codes_is_found() -> None:
    rng = np.random.default_rng(3)
    queries = rng.integers(0, 2**63, 40, dtype=np.uint64)
    table = np.concatenate([rng.integers(0, 2**63, 200, dtype=np.uint64), queries])
    for place in range(40):  # at distances 0 to 9
        for bit in rng.choice(64, place % 10, replace=False):
            table[200 + place] ^= np.uint64(1) << np.uint64(bit)
    found = np.zeros((40, 240), bool)
    for who, where in _within(queries, table):
        found[who, where] = True
    assert (found == (np.bitwise_count(queries[:, None] ^ table) <= NEAR)).all()
    assert found.sum() >= 32


def test_flat_images_are_alike_only_where_they_are_equal() -> None:
    black = np.zeros((32, 32), np.uint8)
    grey = black + 9
    one, same, other = (fingerprint_of(Study(each)) for each in (black, black.copy(), grey))
    assert is_near(one, same)
    assert not is_near(one, other)


def test_equal_values_have_one_hash_whatever_their_type() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    colour = np.repeat(values[:, :, None], 3, axis=2)
    assert pixel_hash(Study(values)) == pixel_hash(
        Study(values.astype(np.int16), window=Window(32, 64))
    )
    assert pixel_hash(Study(values)) == pixel_hash(Study(colour))
    assert pixel_hash(Study(values)) != pixel_hash(Study(values.reshape(4, 16)))
