"""A run that is resumed goes on with the images that it began with."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.rollout import collect
from medgym.same_images import UnchangedImages
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools
from medgym.uris import file_uri

RULES = Rules(tools=load_tools(["zoom"]), view_size=32)


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        draw(path, number)
        made.append(
            Case(
                id=f"own/test/{number}", images=(ImageRef(uri=file_uri(path)),), question="Which?",
                options=("left", "right"), answer="left", answer_type="choice", source="own",
                split="test", group=str(number),
            )
        )  # fmt: skip
    return made


def begun(cases: list[Case], folder: Path) -> RunFolder:
    """A run that has played the first two cases."""
    run = RunFolder.create(folder, {})
    assert len(list(collect(cases[:2], "scripted:prior", RULES, out=run))) == 2
    return run


def test_a_run_whose_images_were_exchanged_is_not_resumed(
    cases: list[Case], tmp_path: Path
) -> None:
    run = begun(cases, tmp_path / "run")
    path = tmp_path / "1.png"
    before = path.stat()
    draw(path, 7)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `cp -p` leaves it
    with pytest.raises(UserError, match=r"images of the case 'own/test/1' have changed since.*fix"):
        list(collect(cases, "scripted:prior", RULES, out=run))
    draw(path, 1)
    assert len(list(collect(cases, "scripted:prior", RULES, out=run))) == 1, "the last one"


def test_what_was_not_played_yet_may_change_and_what_is_gone_is_played_no_more(
    cases: list[Case], tmp_path: Path
) -> None:
    run = begun(cases, tmp_path / "run")
    draw(tmp_path / "2.png", 7)
    (tmp_path / "1.png").unlink()
    assert len(list(collect(cases, "scripted:prior", RULES, out=run))) == 1


def test_only_files_that_are_newer_than_the_run_are_opened(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(cases, tmp_path / "run")
    images = UnchangedImages(run, RULES)
    assert images.may_differ(cases[0])
    with pytest.raises(UserError, match="have changed"):
        images.require(cases[0], {0: "of another image"})
    run.note(started="2999-01-01T00:00:00+00:00")
    assert not UnchangedImages(run, RULES).may_differ(cases[0])
    monkeypatch.setattr(UnchangedImages, "require", None)
    assert len(list(collect(cases, "scripted:prior", RULES, out=run))) == 1
