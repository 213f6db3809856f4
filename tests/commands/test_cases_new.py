"""`medgym cases new`: from a stranger's table to the spec that names its cases."""

import json
import zipfile
from pathlib import Path

import pytest

from medgym.cases import open_cases
from medgym.cli import main

Capture = pytest.CaptureFixture[str]
LINES = ("scan,Question,opA,opB,Dx,note", "a.png,Q?,yes,no,B,1", "b,Q?,yes,no,C,2")


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "mine, 1.csv"
    file.write_text("\n".join(LINES))
    (tmp_path / "b.png").touch()
    return str(file)


def test_what_a_table_is_taken_for_is_shown(path: str, capsys: Capture) -> None:
    assert main(["cases", "new", path]) == 2
    assert "fix: write answer=COLUMN" in capsys.readouterr().err
    assert main(["cases", "new", path, "answer=Dx"]) == 0
    out = capsys.readouterr().out
    spec = f'table,path="{path}",answer=Dx,gold=letter:all'
    for line in (
        f"{path}: 2 rows, cells between commas",
        "image     scan",
        "options   opA + opB",
        "answer    Dx: the letter of an option (gold=letter)",
        "not used  note",
        "all: 1 case of 2 rows",
        f"  row 3 of {path}: the answer 'C' (column 'Dx') is no letter of its 2 options",
        "  1 of 1 images are not there:",
        f"  {Path(path).parent}/a.png",
        "  gold: no",
        f"  its first image: no such image: {Path(path).parent}/a.png; fix: check the path",
        f"  medgym eval '{spec}' --policy scripted:prior",
    ):
        assert f"{line}\n" in out
    assert len(open_cases(spec)) == 1


def test_what_is_evaluated_next_is_the_test_split(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "split.csv"
    path.write_text("image,question,answer,split\na.png,Q?,yes,test\na.png,R?,no,train\n")
    assert main(["cases", "new", str(path)]) == 0
    assert f"  medgym eval table,path={path}:test --policy " in capsys.readouterr().out


def test_the_same_for_machines(path: str, capsys: Capture) -> None:
    assert main(["cases", "new", path, "answer=Dx", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    split = found["splits"]["all"]
    assert (found["rows"], found["gold"], split["cases"]) == (2, "letter", 1)
    assert len(open_cases(split["spec"])) == 1


def test_a_table_without_a_case_says_why(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "none.csv"
    path.write_text("image,question,answer\na.png,Q?,\n")
    assert main(["cases", "new", str(path)]) == 1
    found = capsys.readouterr()
    assert "none of the 1 rows" in found.err
    assert "question  question" in found.out
    assert main(["cases", "new", str(path), "answer"]) == 2


def test_a_missing_file_names_the_one_that_may_be_meant(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "b.png").touch()
    path = tmp_path / "mine.csv"
    path.write_text("image,question,answer\nb,Q?,yes\n")
    assert main(["cases", "new", str(path)]) == 0
    assert f"  {tmp_path}/b (there is b.png)\n" in capsys.readouterr().out


def test_members_that_a_zip_lacks_are_missing(tmp_path: Path, capsys: Capture) -> None:
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as file:
        file.writestr("in/a.png", b"")
    path = tmp_path / "mine.csv"
    path.write_text("image,question,answer\n./in/a.png,Q?,yes\nin/lost.png,Q?,yes\n")
    assert main(["cases", "new", str(path), f"images={tmp_path / 'scans.zip'}"]) == 0
    out = capsys.readouterr().out
    assert f"  1 of 2 images are not there:\n  {tmp_path}/scans.zip, in/lost.png\n" in out


def test_images_that_are_all_elsewhere_are_looked_for_in_another_folder(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("image,question,answer\na.png,Q?,yes\nb.png,Q?,no\n")
    assert main(["cases", "new", str(path)]) == 0
    assert "  fix: name the folder that holds them, such as images=scans\n" in (
        capsys.readouterr().out
    )
