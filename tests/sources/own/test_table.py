"""The source `table`: a stranger's file is read as it is, and what is wrong in it is named."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from medgym.case_spec import write_spec
from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError

from .conftest import HEADER, ROWS, table


def spec(path: str, split: str = "all", **options: str) -> str:
    return write_spec("table", [("path", path), *options.items()], split)


def test_a_strangers_table_is_evaluated_by_one_command(
    stranger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (open_cases(spec(stranger, split)) for split in ("train", "test"))
    assert [case.answer for case in train] == ["yes", "left", "None", "no", "007"]
    assert [case.answer for case in test] == ["lower", "yes", "no"]
    assert [case.group for case in train] == ["P1", "P1", "P2", "P2", "P3"]
    assert train[2].options == ("nodule", "None", "NA")
    assert train[2].question == 'What does the arrow "show"?'
    assert train[3].question == "Two lines\r\nin one cell?"
    assert train[0].question == "Is there an effusion, on the left?"
    assert [case.id for case in test] == [f"table/test/questions/{n}" for n in (11, 12, 13)]
    assert [reason for _, reason in (*train.dropped, *test.dropped)] == [
        "the answer is blank (column 'Answer')",
        "it has no image (column 'Image Path')",
        "the question is blank (column 'Question')",
        "the answer 'left' (column 'Answer') is none of its options",
    ]
    assert [place for place, _ in test.dropped] == [f"row {n} of {stranger}" for n in (8, 9, 10)]
    for split, count in (("train", 5), ("test", 3)):
        assert main(["eval", spec(stranger, split), "--policy", "scripted:oracle", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        accuracy = found["policies"]["scripted:oracle"]["sampled"]["accuracy"]
        assert (accuracy["n"], accuracy["value"]) == (count, 1.0)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_line_ends_and_delimiters_of_all_kinds(tmp_path: Path, ending: str, delimiter: str) -> None:
    lines = (["image", "question", "answer"], ["a.png", "How many?", "4"], ["b.png", "No?", "no"])
    path = table(tmp_path, ending.join(delimiter.join(line) for line in lines))
    cases = open_cases(spec(path))
    assert [(case.answer, case.answer_type) for case in cases] == [
        ("4", "number"),
        ("no", "closed"),
    ]
    assert [case.images[0].uri for case in cases] == [
        (tmp_path / name).as_uri() for name in ("a.png", "b.png")
    ]


def written(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    if kind == "parquet":
        path = folder / "questions.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return str(path)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = "\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]"
    return table(folder, text, f"questions.{kind}")


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_other_files_make_the_same_cases(tmp_path: Path, kind: str) -> None:
    rows = [
        {"image": "a.png", "question": "Which?", "choices": ["007", "NA", "é"], "label": 1},
        {"image": "b.png", "question": "Which?", "choices": ["None", "7"], "label": 0},
        {"image": "c.png", "question": "Which?", "choices": ["x", "y"], "label": None},
        {"image": "d.png", "question": "Which?", "choices": ["x", "y"], "label": 2},
    ]
    cases = open_cases(spec(written(tmp_path, kind, rows), gold="index"))
    assert [(case.options, case.answer) for case in cases] == [
        (("007", "NA", "é"), "NA"),
        (("None", "7"), "None"),
    ]
    assert len(cases.dropped) == 2
    assert "is no index of its 2 options" in cases.dropped[1][1]


def test_a_key_that_comes_late_is_a_column(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"image": "a", "question": "?", "answer": 1.50}] * 10_001
    path = written(tmp_path, "jsonl", [*rows, {**rows[0], "patient": "P"}])
    cases = open_cases(spec(path))
    assert (cases[0].answer, cases[10_001].group) == ("1.5", "P")


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ('["a, b", "c"]', ("a, b", "c")),
        ("['a', \"b's\"]", ("a", "b's")),
        ("left | right", ("left", "right")),
        ('{"A": "x", "B": "y"}', ("x", "y")),
        ("(a) left | [b] right", ("(a) left", "[b] right")),
    ],
)
def test_options_in_one_cell(tmp_path: Path, cell: str, options: tuple[str, ...]) -> None:
    row = {"image": "a.png", "question": "Which?", "options": cell, "answer": "B"}
    cases = open_cases(spec(written(tmp_path, "jsonl", [row]), gold="letter"))
    assert (cases[0].options, cases[0].answer) == (options, options[1])


def test_no_cell_is_run_as_code(tmp_path: Path) -> None:
    cell = "[__import__('os').mkdir('made')]"
    row = {"image": "a.png", "question": "Which?", "options": cell, "answer": "B"}
    good = {**row, "options": "A | B"}
    cases = open_cases(spec(written(tmp_path, "jsonl", [row, good])))
    assert cases.dropped[0][1].endswith("(column 'options') is no list of options")
    assert not Path("made").exists()


WIDE = "id,image,question,option_a,option_b,answer,alternatives,bbox,modality,lang,extra\n"


def test_what_is_said_and_what_is_guessed(tmp_path: Path) -> None:
    row = '7,"[""a.png"", ""b.png""]",Where?,,,opacity,mass|nodule,"10, 20, 30.5, 40",X-ray,de,x\n'
    (case,) = open_cases(spec(table(tmp_path, WIDE + row), name="mine"))
    assert [ref.uri for ref in case.images] == [
        (tmp_path / name).as_uri() for name in ("a.png", "b.png")
    ]
    assert (case.id, case.source, case.accepted) == (
        "mine/all/questions/7",
        "mine",
        ("mass", "nodule"),
    )
    assert (case.modality, case.language, case.options) == ("DX", "de", ())
    assert (case.regions[0].box_px, case.group) == ((10, 20, 30.5, 40), case.images[0].uri)
    path = tmp_path / "questions.csv"
    given = {
        "modality": "CT",
        "language": "fr",
        "type": "report",
        "question": "extra",
        "region": "-",
    }
    (case,) = open_cases(spec(str(path), **given))
    assert (case.modality, case.language, case.answer_type) == ("CT", "fr", "report")
    assert (case.question, case.regions) == ("x", ())


@pytest.mark.parametrize("many", [False, True])
def test_rows_that_are_seen_from_columns_are_those_that_are_made(
    tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is looked at by itself, and as the columns are: the same ones make a case."""
    if not many:
        monkeypatch.setattr("medgym.sources.own.table.look_at", lambda *given: None)
    lines = ["image,question,a,b,c,answer,id"]
    images, golds = (
        ("x.png", " ", "http://x/y.png", "['p.png','q.png']", "p|q"),
        ("u", "W", "z", ""),
    )
    for image in images:
        for question in ("Q?", " ", "\u00a0", "\u00a0Q", "哪里"):
            for gold in golds:
                for third in ("w", " ", ""):
                    lines.append(f'"{image}",{question},u,v,{third},{gold},{len(lines)}')
    lines.append("x.png,Q?,u,v,w,u,")
    cases = open_cases(spec(table(tmp_path, "\n".join(lines))))
    # Two of five images are none, two of five questions; gold u is right, W where there is a w.
    assert len(cases) == 3 * 3 * (3 + 1)
    assert len(cases) + len(cases.dropped) == len(lines) - 1
    assert cases.dropped[-1][1] == "the id is blank (column 'id')"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("image,question,answr\n", {}, "no column that looks like the answer, but image, q"),
        ("img,frage,answer\n", {}, "like the question, but img, frage, answer; fix: write q"),
        ("x,question,answer\n", {}, "image=COLUMN, or image=- for questions without images"),
        ("image,question,answer\n", {"answer": "anser"}, "no column 'anser' for the answer; fix"),
        ("image,question,answer\n", {"gold": "leter"}, "unknown gold 'leter'; did you mean"),
        ("image,question,answer\n", {"colour": "x"}, "unknown option of the source table 'colour'"),
        ("image,question,answer\n", {"images": "nowhere"}, "there is no folder nowhere with"),
        ("image,question,answer\n", {"delimiter": "x"}, "delimiter='x' is unknown; fix: "),
        ("", {}, "questions.csv is empty"),
        ("image,question,question\n", {}, "two columns 'question'; fix: rename one"),
        ("image,question,answer\na,b,c,d\n", {}, "row 2 has 4 cells, and the first row 3"),
        ('image,question,answer\na,b,c\na,"b,c\na,b,c\n', {}, "a quotation mark is not closed in"),
        ('image,question,answer\na,b,c\na,b,"c\na,b,c\n', {}, "a quotation mark is not closed in"),
        (
            "image,question,a,b,answer\nx,Q,left,right,B\n", {},
            r"none of the 1 rows of .* row 2 of .*: the answer 'B' \(column 'answer'\) is none of "
            "its options; fix: write gold=letter",
        ),
        (
            "image,question,answer,id\nx,Q,y,7\nx,Q,y,8\nx,Q,y,7\n", {},
            r"two rows of one id, '7' \(column 'id'\): row 2 of .*csv and row 4 of .*csv; fix",
        ),
        ("image,question,answer,split\nx,Q,y,\n", {}, r"row 2 of .* has no split \(column"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_in_one_line(
    tmp_path: Path, text: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        open_cases(spec(table(tmp_path, text), **options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"image,question,answer\na,b,c\na,\xe9,c\n", 3),
        ("image,question,answer\na,é,c\n".encode("utf-16"), 1),
    ],
)
@pytest.mark.parametrize("name", ["questions.csv", "questions.jsonl", "questions.json"])
def test_a_table_that_is_not_utf8_names_the_line(
    tmp_path: Path, data: bytes, line: int, name: str
) -> None:
    (tmp_path / name).write_bytes(data if name.endswith("csv") else b'{"a": "\xe9"}')
    with pytest.raises(UserError, match=rf"{name} is .*UTF-8.* line ({line}|1)") as error:
        open_cases(spec(str(tmp_path / name)))
    assert "\n" not in str(error.value)


def test_a_row_that_is_longer_than_a_block(tmp_path: Path) -> None:
    rows = ["a.png,Q?,yes"] * 100_000
    text = "\n".join(["image,question,answer", *rows, f"a.png,{'x' * 3_000_000},no", *rows])
    cases = open_cases(spec(table(tmp_path, text)))
    assert (len(cases), cases[100_000].answer) == (200_001, "no")


def test_a_table_by_itself_names_its_spec(stranger: str) -> None:
    with pytest.raises(UserError, match="is a table; fix: write ") as error:
        open_cases(stranger)
    for split, count in (("train", 5), ("test", 3)):
        assert f"{spec(stranger, split)}" in str(error.value)
        assert len(open_cases(spec(stranger, split))) == count
    with pytest.raises(UserError, match="is a table; fix: write table,path="):
        open_cases(f"{stranger}[:5]")


def test_blank_columns_of_a_spreadsheet_are_no_matter(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question,answer,,\na.png,Is it?,yes,,\n,,,,\n")
    cases = open_cases(spec(path))
    assert ([case.answer for case in cases], len(cases.dropped)) == (["yes"], 0)


def test_a_file_of_cases_is_no_table(tmp_path: Path) -> None:
    write_cases(open_cases("phantom:test[:2]"), tmp_path / "mine.jsonl")
    with pytest.raises(UserError, match="is a file of cases already; fix: name it by itself"):
        open_cases(spec(str(tmp_path / "mine.jsonl")))
    assert len(open_cases(tmp_path / "mine.jsonl")) == 2


def test_a_split_of_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "image,question,answer,split\na.png,Is it?,yes,fold: 1\n")
    assert main(["cases", spec(path, "")]) == 0
    assert f"{spec(path, 'fold: 1')}  1 cases" in capsys.readouterr().out


def test_slices_and_limits_work(stranger: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = open_cases(spec(stranger, "train"))
    assert list(open_cases(f"{spec(stranger, 'train')}[1:4:2]")) == [whole[1], whole[3]]
    assert main(["cases", spec(stranger, "train"), "--limit", "2"]) == 0
    assert "5 cases, 2 of them listed (--limit)" in capsys.readouterr().out
    assert main(["cases", spec(stranger, "")]) == 0
    assert "5 cases" in capsys.readouterr().out


def test_images_in_a_folder_a_zip_or_beside_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    path = table(tmp_path, f"image,question,answer\nscan 1.png,Q?,yes\n{tmp_path}/b.png,Q?,no\n")
    (tmp_path / "pictures").mkdir()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("scan 1.png", b"")
    first = [open_cases(spec(path, images=str(tmp_path / name)))[0].images[0] for name in
             ("pictures", "all.zip")]  # fmt: skip
    assert first[0].uri == (tmp_path / "pictures" / "scan 1.png").as_uri()
    assert (first[1].uri, first[1].member) == ((tmp_path / "all.zip").as_uri(), "scan 1.png")
    assert open_cases(spec(path))[1].images[0].uri == (tmp_path / "b.png").as_uri()
    with pytest.raises(UserError, match=r"fix: write images=.*pictures"):
        open_cases(spec(path, images="pictures"))
    monkeypatch.chdir(tmp_path)
    assert open_cases(spec("questions.csv", images="pictures"))[0].images == (first[0],)


def test_the_table_of_the_stranger_has_twelve_rows() -> None:
    assert len(ROWS) == 12
    assert HEADER.count(",") == 7
