"""`medgym cases`: a source without a split names its splits."""

import json
from pathlib import Path

import pytest
from PIL import Image

from medgym.cases import Case, open_cases, write_cases
from medgym.cli import main
from medgym.imaging.study import ImageRef
from medgym.sources.phantom.source import SPLITS

Capture = pytest.CaptureFixture[str]


def test_a_source_names_its_splits(capsys: Capture) -> None:
    assert main(["cases", "phantom,look=ct", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["splits"]
    assert set(counts) == set(SPLITS)
    assert main(["cases", "phantom,look=ct"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"phantom,look=ct:{split}" for split in SPLITS]


def test_an_empty_slice_is_refused(capsys: Capture) -> None:
    assert main(["cases", "phantom:test[5:2]"]) == 2
    assert "'phantom:test[5:2]' names no case; fix: widen the slice" in capsys.readouterr().err


HOSTILE = "\x1b[31m\x9b2J\u202e\x07\rnew\nline\ttab\x7f\u200b\ud800é\xa0"


def hostile(folder: Path, **changes: object) -> str:
    """A file with a case of which every text would steer a terminal."""
    Image.new("L", (40, 30), 90).save(folder / "a.png")
    text = HOSTILE.replace("\ud800", "")
    made = Case(
        id=f"mine/test/{text}",
        images=(ImageRef(uri=f"file:{folder}/a.png"),),
        question=f"What? {text}",
        options=(text, "no"),
        answer=text,
        answer_type="choice",
        group="g",
        source="mine",
        split="test",
    )
    write_cases([made.model_copy(update=changes)], folder / "cases.jsonl")
    return str(folder / "cases.jsonl")


@pytest.mark.parametrize("option", ["--gold", "--json"])
def test_no_text_of_a_case_steers_the_terminal(
    option: str, tmp_path: Path, capsys: Capture
) -> None:
    spec = hostile(tmp_path)
    assert main(["cases", spec, option]) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "é" in out
    if option == "--json":
        assert json.loads(out)["cases"][0]["id"] == f"mine/test/{HOSTILE}".replace("\ud800", "")


def test_no_error_steers_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    spec = hostile(tmp_path, options=("yes", "no"))
    assert main(["play", spec, "--policy", "human", "--case", HOSTILE]) == 2
    assert main(["rollout", spec, "--policy", f"{HOSTILE}:x", "--out", str(tmp_path / "o")]) == 2
    err = capsys.readouterr().err
    assert err.count("medgym: ") == err.count("\n") == 2
    assert all(c.isprintable() or c == "\n" for c in err)


def test_a_long_id_is_cut_and_takes_no_time(tmp_path: Path, capsys: Capture) -> None:
    long_id = "mine/test/" + "x" * 100_000
    spec = hostile(tmp_path, id=long_id, question="y" * 100_000)
    assert main(["cases", spec]) == 0
    assert len(capsys.readouterr().out) < 6_000
    assert main(["cases", "show", spec, "--out", str(tmp_path / "none.png")]) == 2
    assert len(capsys.readouterr().err) < 3_000
    spec = hostile(tmp_path, id=long_id)
    assert main(["cases", "show", spec, "--gold", "--out", str(tmp_path / "sheet.png")]) == 0
    assert Image.open(tmp_path / "sheet.png").width < 1_000


def test_the_gold_of_a_study_says_on_which_images_it_lies(capsys: Capture) -> None:
    assert main(["cases", "phantom,look=ct-volume,size=128,depth=8:test[3:4]", "--gold"]) == 0
    assert "48, 52 px of image 0, axial 4 to 5\n" in capsys.readouterr().out


def test_accepted_answers_are_gold(tmp_path: Path, capsys: Capture) -> None:
    case = open_cases("phantom,look=radiograph,question=kind:test[:1]")[0]
    right, also, *_ = (case.answer, *(o for o in case.options if o != case.answer))
    bare = case.model_copy(update={"options": (), "answer_type": "open", "accepted": (also,)})
    write_cases([bare], tmp_path / "c.jsonl")
    spec = str(tmp_path / "c.jsonl")
    assert main(["cases", spec, "--gold"]) == 0
    assert f"gold: {right} or {also}" in capsys.readouterr().out
    for words in (["cases", spec], ["cases", spec, "--json"]):
        assert main(words) == 0
        assert also not in capsys.readouterr().out
