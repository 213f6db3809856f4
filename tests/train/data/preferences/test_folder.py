"""A folder of pairs: written and read again, moved, damaged, checked, shown."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from medgym.cases import Case
from medgym.cli import main
from medgym.errors import UserError
from medgym.messages import ImagePart
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import ImageStore
from medgym.train.data.preferences import Pair, PairFolder
from medgym.train.data.preferences import folder as module
from medgym.trajectory import ImageUse

from .conftest import picture, played


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "somewhere")
    for number in range(9):
        store.put(picture(number))
    return store


@pytest.fixture
def pairs(some_cases: list[Case]) -> list[Pair]:
    made = []
    for case in some_cases:
        right, wrong = played(case, 0, look="hit"), played(case, 1, right=False, look="miss")
        made.append(Pair(right, wrong, "outcome", "right against wrong", 0.25))
        made.append(Pair(right, played(case, 2, right=False), "looking", "looked", 1.0, 1))
    return made


def test_pairs_come_back_as_they_were_wherever_the_folder_lies(
    pairs: list[Pair], images: ImageStore, some_cases: list[Case], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "PART", 4)
    cases = {case.id: case for case in some_cases}
    PairFolder.write(tmp_path / "pairs", pairs, images, cases)
    assert len(list((tmp_path / "pairs" / "trajectories").iterdir())) > 1
    shutil.rmtree(images.path)
    (tmp_path / "pairs").rename(tmp_path / "moved")
    found = PairFolder.open(tmp_path / "moved")
    assert list(found) == found.pairs() == pairs
    assert found[3] == pairs[3]
    assert found.cases() == cases
    shown = {use for pair in pairs for each in (pair.chosen, pair.rejected)
             for use in each.image_hashes}  # fmt: skip
    assert found.images.names() == shown
    assert all(found.images.get(sha256) for sha256 in shown)
    assert {key.id for key in found.case_keys()} == set(cases)


def test_an_exchanged_image_of_the_folder_itself_is_kept(
    some_cases: list[Case], images: ImageStore, tmp_path: Path
) -> None:
    case = some_cases[0]
    right = played(case, 0)
    writer = module.PairWriter(tmp_path / "pairs", {}, (images,))
    noise = writer.images.put(ImagePart(0, Image.new("L", (4, 4), 200)))
    first = replace(right.nodes[0], images=(ImageUse(noise, 0, 2),))
    nodes = (first, replace(right.nodes[1], logprobs=()))
    blind = replace(right, kind="demonstration", nodes=nodes)
    writer.add(case, [Pair(right, blind, "lesion-noise", "seen against not seen")])
    found = writer.finish()
    assert found[0].rejected.image_hashes == (noise,)
    assert found.images.get(noise).getpixel((0, 0)) == 200


def test_each_episode_is_stored_once(pairs: list[Pair], images: ImageStore, tmp_path: Path) -> None:
    writer = module.PairWriter(tmp_path / "pairs", {}, (images,))
    writer.add(None, pairs[:2])
    assert len(RunFolder(writer.finish().path).trajectories) == 3


def test_medgym_check_finds_nothing_wrong_and_what_is(
    pairs: list[Pair], images: ImageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = PairFolder.write(tmp_path / "pairs", pairs, images)
    assert main(["check", "run", str(folder.path)]) == 0
    next((folder.path / "images").rglob("*.png")).unlink()
    assert main(["check", "run", str(folder.path)]) == 1


def test_a_lost_image_is_one_line(pairs: list[Pair], images: ImageStore, tmp_path: Path) -> None:
    shutil.rmtree(images.path / picture(1).sha256[:2])
    with pytest.raises(UserError, match=r"no image .* fix: copy the run's images"):
        PairFolder.write(tmp_path / "pairs", pairs, images)


def test_what_is_no_folder_of_pairs_is_one_line(
    pairs: list[Pair], images: ImageStore, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        PairFolder.open(tmp_path / "nothing")
    RunFolder.create(tmp_path / "run", {"command": "rollout"})
    with pytest.raises(UserError, match=r"holds a run, not pairs.*fix: medgym pairs build"):
        PairFolder.open(tmp_path / "run")
    RunFolder.create(tmp_path / "killed", {"command": "pairs"})
    with pytest.raises(UserError, match="is not finished"):
        PairFolder.open(tmp_path / "killed")
    path = PairFolder.write(tmp_path / "pairs", pairs, images).path / "pairs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="has 11 pairs, and the manifest counts 12"):
        PairFolder.open(path.parent)
    row = json.loads(lines[0])
    row["chosen"]["row"] = 99
    path.write_text("".join([*lines[1:], json.dumps(row) + "\n"]))
    with pytest.raises(UserError, match="names no pair of this folder"):
        PairFolder.open(path.parent).pairs()


def test_an_image_is_taken_over_by_link_or_by_copy(
    images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = picture(1).sha256
    linked, copied = ImageStore(tmp_path / "linked"), ImageStore(tmp_path / "copied")
    linked.take(sha256, images)
    (file,) = linked.path.rglob("*.png")
    assert file.stat().st_nlink == 2

    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("os.link", refuse)
    copied.take(sha256, images)
    (file,) = copied.path.rglob("*.png")
    assert file.stat().st_nlink == 1
    assert copied.get(sha256) == linked.get(sha256)
