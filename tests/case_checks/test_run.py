"""A check finds what was planted, names it, draws it, and goes on where it was stopped."""

import json
import os
import sqlite3
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from medgym import registry
from medgym.case_checks.report import CheckRow
from medgym.cases import Case
from medgym.cli import main
from medgym.imaging.study import ImageRef, open_image
from medgym.leaks.kept import KeptFingerprints
from medgym.leaks.scan import scan
from medgym.source import Source

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, an exact and a near copy of the first, and a file that is no image."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, look in enumerate(("ct", "fundus", "radiograph")):
        drawn = open_image(ImageRef(uri=f"phantom:train/{look}/256/{number}")).pixels
        Image.fromarray(drawn).save(folder / f"{number}.png")
    first = Image.open(folder / "0.png")
    first.save(folder / "exact.bmp")
    first.crop((8, 4, 252, 250)).save(folder / "near.jpg", quality=60)
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    return folder


def line(key: str, split: str, picture: Path, **changes: Any) -> str:
    made = {
        "id": f"mine/{split}/{key}",
        "images": [{"uri": f"file:{picture}"}],
        "question": f"What is {key}?",
        "answer": "yes",
        "group": key,
        "source": "mine",
        "split": split,
    }
    return json.dumps(made | changes)


@pytest.fixture
def planted(pictures: Path, tmp_path: Path) -> Path:
    """A file of cases with one fault of each kind."""
    lines = [
        line("a", "train", pictures / "0.png", question="Same?"),
        line("b", "train", pictures / "1.png", group="both"),
        line("c", "test", pictures / "exact.bmp", question="Same?"),
        line("d", "test", pictures / "near.jpg"),
        line("e", "test", pictures / "2.png", group="both"),
        line("f", "test", pictures / "broken.png"),
        line("g", "test", pictures / "2.png", options=["x", "y"], answer="z"),
        line("h", "test", pictures / "2.png", options=["no", "no", "yes"]),
        line("i", "test", pictures / "2.png", group=" "),
        line("e", "test", pictures / "2.png"),
        '{"id": 3}',
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_what_was_planted_is_found(planted: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "report"
    assert main(["cases", "check", str(planted), "--json", "--out", str(out)]) == 1
    found = json.loads(capsys.readouterr().out)
    rows = {row["check"]: row for row in found["checks"]}
    assert {name for name, row in rows.items() if row["verdict"] == "fail"} == {
        "each line is a case",
        "each case can be scored",
        "each id is there once",
        "each case has a group",
        "no group is in two splits",
        "each image can be opened",
        "no image is in two splits (exact copies)",
        "no image is in two splits (near duplicates)",
        "no question about one image is in two splits",
    }
    assert rows["options differ"]["verdict"] == "warn"
    assert [each["case"] for each in found["unreadable"]] == ["mine/test/f"]
    assert [each["case"] for each in found["unscorable"]] == ["mine/test/g"]
    pairs = {(p["first"]["case"], p["second"]["case"]): p for p in found["leaks"]}
    assert set(pairs) == {("mine/train/a", "mine/test/c"), ("mine/train/a", "mine/test/d")} | {
        pair for pair in pairs if pair[0] == "mine/test/c"
    }
    exact = pairs["mine/train/a", "mine/test/c"]
    assert exact["exact"]
    assert exact["same_question"]
    assert exact["likeness"] == 1.0
    assert not pairs["mine/train/a", "mine/test/d"]["exact"]
    assert json.loads((out / "report.json").read_text()) == found
    assert json.loads((out / "image-groups.json").read_text()) == {"c": "a", "d": "a"}
    assert Image.open(out / "leaks.png").width > 440


def test_in_words_the_pairs_are_named(planted: Path, capsys: Capture) -> None:
    assert main(["cases", "check", str(planted)]) == 1
    said = capsys.readouterr()
    assert "  mine/train/a and mine/test/c: exact copy\n" in said.out
    assert "mine/train/a and mine/test/d: near duplicate, likeness 0.9" in said.out
    assert "of 17 checks failed" in said.err or "checks failed, the first: each line" in said.err


def test_a_check_that_was_stopped_goes_on(pictures: Path, tmp_path: Path) -> None:
    refs = [ImageRef(uri=f"file:{tmp_path / name}") for name in ("a.png", "b.png")]
    for ref, number in zip(refs, (0, 1), strict=True):
        (tmp_path / Path(ref.uri[5:]).name).write_bytes((pictures / f"{number}.png").read_bytes())

    def stopped() -> Iterator[ImageRef]:
        yield refs[0]
        raise KeyboardInterrupt

    place = tmp_path / "progress.sqlite"
    with KeptFingerprints(place) as kept:
        whole = scan([refs[0]], kept)
    with pytest.raises(KeyboardInterrupt), KeptFingerprints(place) as kept:
        scan(stopped(), kept)
    state = os.stat(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"x" * state.st_size)  # it cannot be read a second time
    os.utime(tmp_path / "a.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    with KeptFingerprints(place) as kept:
        again = scan(refs, kept)
    assert not again.unreadable
    assert again.prints[0].sha256 == whole.prints[0].sha256
    assert (again.prints[0].codes == whole.prints[0].codes).all()
    os.utime(tmp_path / "a.png")  # it is another file now
    with KeptFingerprints(place) as kept:
        assert list(scan(refs, kept).unreadable) == [refs[0]]


def test_what_a_source_draws_is_not_kept_after_the_check(tmp_path: Path) -> None:
    place = tmp_path / "progress.sqlite"
    with KeptFingerprints(place) as kept:
        scan([ImageRef(uri="phantom:train/ct/256/0")], kept)
    assert sqlite3.connect(place).execute("SELECT count(*) FROM fingerprints_1").fetchone() == (0,)


def test_a_file_that_keeps_something_else_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "fingerprints.sqlite").write_text("not a database at all, but longer than a page")
    status = main(["cases", "check", "phantom:test", "--n", "1", "--out", str(tmp_path)])
    assert status == 2
    assert "cannot keep the progress of the check" in capsys.readouterr().err


class Strange(Source):
    """A source of another package, with a case that cannot be scored and a check of its own."""

    name: ClassVar[str] = "strange"
    splits = ("one",)

    def cases(self, split: str) -> list[Case]:
        ref = ImageRef(uri="phantom:test/ct/256/0")
        given: dict[str, Any] = {"images": (ref,), "source": "strange", "split": split}
        return [
            Case(id="s/one/1", question="What?", answer="yes", group="g", **given),
            Case(id="s/one/2", question="What?", answer=" ", group="g", **given),
        ]

    def check(self, splits: Any, *, quick: bool) -> list[CheckRow]:
        return [CheckRow("cases are strange", "pass", f"{len(splits['one'])} of 2")]


def test_a_source_of_another_package_is_checked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("strange", f"{__name__}:Strange", "medgym.sources")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Strange if self == point else LOAD(self))
    group = {**registry._group("sources"), "strange": (point,)}
    known = registry._group
    monkeypatch.setattr(registry, "_group", lambda k: group if k == "sources" else known(k))
    assert main(["cases", "check", "strange", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["unscorable"] == [{"case": "s/one/2", "reason": "the answer is blank"}]
    rows = {row["check"]: row["verdict"] for row in found["checks"]}
    assert rows["cases are strange"] == "pass"
    assert "no group is in two splits" not in rows


LOAD = EntryPoint.load


def test_phantoms_pass_their_own_checks_and_those_of_all(capsys: Capture) -> None:
    spec = "phantom,size=256,look=ct,question=kind"
    assert main(["cases", "check", spec, "--n", "3", "--no-probe"]) == 0
    out = capsys.readouterr().out
    assert "pass  no image is in two splits (near duplicates): 0 of 9\n" in out
    assert "pass  the original pixels show the kind: 0 of 3 lesions" in out


def test_all_groups_of_a_shared_image_are_kept_together(pictures: Path, tmp_path: Path) -> None:
    shared = pictures / "0.png"
    lines = [
        line("a", "train", shared),
        line("b", "train", pictures / "exact.bmp"),
        line("c", "test", shared),
        line("d", "test", pictures / "near.jpg"),
        line("e", "test", pictures / "1.png"),
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    main(["cases", "check", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "out")])
    merged = json.loads((tmp_path / "out/image-groups.json").read_text())
    assert merged == {"b": "a", "c": "a", "d": "a"}


def test_two_golds_of_one_question_are_named(
    pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    one = {"question": "Is it normal?"}
    lines = [
        line("a", "train", pictures / "0.png", **one),
        line("b", "train", pictures / "0.png", question="is it  normal?", answer="No."),
        line("c", "train", pictures / "0.png", **one, answer="Yes."),
        line("d", "train", pictures / "1.png", **one, answer="no"),
        line("e", "train", pictures / "0.png", **one, answer="no", context="After surgery."),
        line("f", "test", pictures / "0.png", **one, answer="no"),
    ]
    file = tmp_path / "golds.jsonl"
    file.write_text("\n".join(lines))
    main(["cases", "check", str(file), "--json"])
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    row = rows["the same question has one gold"]
    assert (row["verdict"], row["figure"]) == ("warn", "1 of 6 are not")
    assert row["fix"].endswith("first: mine/train/b (as mine/train/a)")


def test_regions_that_are_not_in_their_image_are_named(
    pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    boxes = {"in": [0, 0, 256.4, 9], "past": [0, 0, 258, 9], "before": [-2, 0, 9, 9]}
    lines = [
        line(key, "train", pictures / "0.png", regions=[{"label": "x", "box_px": box}])
        for key, box in boxes.items()
    ]
    mask = {"width": 9, "height": 2, "counts": [18]}
    masked = {"label": "x", "box_px": [0, 0, 9, 2], "mask": mask}
    lines.append(line("masked", "train", pictures / "0.png", regions=[masked]))
    other = {"label": "x", "box_px": [0, 0, 9, 2], "image": 1}
    lines.append(line("other", "train", pictures / "0.png", regions=[other]))
    file = tmp_path / "regions.jsonl"
    file.write_text("\n".join(lines))
    assert main(["cases", "check", str(file), "--json"]) == 1
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    row = rows["each region lies in its image"]
    assert row["figure"].startswith("4 of 5 are not (2: its box passes the edge")
    assert "mine/train/in" not in row["fix"]
    file.write_text(lines[0])
    assert main(["cases", "check", str(file), "--json"]) == 0
