"""What a row of a table is: which number it has, what its blank and missing cells are."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from medgym.case_spec import write_spec
from medgym.cases import CaseList, open_cases
from medgym.errors import UserError

from .conftest import table


def cases_of(path: str, split: str = "all", **options: str) -> CaseList:
    return open_cases(write_spec("table", [("path", path), *options.items()], split))


def test_rows_have_the_numbers_of_a_spreadsheet_though_some_are_blank(tmp_path: Path) -> None:
    lines = [
        "image,question,answer,split",
        "a.png,'Two\nlines?',yes,x".replace("'", chr(34)),
        "",
        ",,,",
        "a.png,,yes,x",
        "",
        "",
    ]
    path = table(tmp_path, "\r\n".join([*lines, "a.png,Is it?,no,x", "", ""]))
    cases = cases_of(path, "x")
    assert [case.id for case in cases] == ["table/x/questions/2", "table/x/questions/8"]
    assert [place for place, _ in cases.dropped] == [f"row 5 of {path}"]
    with pytest.raises(UserError, match=r"row 4 has 5 cells"):
        cases_of(table(tmp_path, "image,question,answer,split\n\n\na,b,c,d,e\n"))
    with pytest.raises(UserError, match=r"begins with a blank line"):
        cases_of(table(tmp_path, "\nimage,question,answer\na.png,Is it?,no\n"))


def test_lines_of_json_have_the_numbers_of_an_editor(tmp_path: Path) -> None:
    lines = ['{"image": "a.png", "question": "?", "answer": "x"}', "", "", '{"image": "a.png"}']
    path = table(tmp_path, "\n".join(lines), "rows.jsonl")
    assert [place for place, _ in cases_of(path).dropped] == [f"line 4 of {path}"]


def test_a_blank_split_is_named_by_its_row(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question,answer,split\na.png,?,yes,x\na.png,?,yes, \n")
    with pytest.raises(UserError, match=r"^row 3 of .* has no split"):
        cases_of(path, "x")


def test_a_mark_that_the_next_row_closes_swallows_no_row(tmp_path: Path) -> None:
    head = "id,image,question,answer\n"
    path = table(tmp_path, head + '1,a.png,"Is it?,yes\n2,a.png,"Or not?",no\n3,a.png,?,no\n')
    with pytest.raises(UserError, match=r"not closed in row 2, which begins on line 2; fix: "):
        cases_of(path)
    good = head + '1,a.png,"Is it ""A"",\nor B?",yes\n2,a.png,5" or 6",no\n'
    assert len(cases_of(table(tmp_path, good))) == 2


def test_what_is_missing_in_a_list_is_no_option_and_no_image(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        """image;question;options;answer;accepted
a.png|;Which?;["x", "y", null];X;["Y ", null]
"['a.png', None]";Which?;['x', 'y', None, None];y;
""",
    )
    cases = cases_of(path)
    assert [case.options for case in cases] == [("x", "y")] * 2
    assert [case.golds for case in cases] == [("x", "y"), ("y",)]
    assert [len(case.images) for case in cases] == [1, 1]


def test_a_letter_of_a_blank_option_is_said_to_be_one(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question,A,B,C,answer\na,?,x,,y,B\na,?,x,,y,C\n")
    cases = cases_of(path, gold="letter")
    assert [case.answer for case in cases] == ["y"]
    assert "names a blank option" in cases.dropped[0][1]


def test_more_options_than_letters_cost_the_row(tmp_path: Path) -> None:
    names = [f"option_{n}" for n in range(1, 28)]
    texts = [str(n) for n in range(27)]
    few = [*texts[:2], *[""] * 25]
    lines = [
        ["image", "question", "answer", *names],
        ["a", "?", "1", *texts],
        ["a", "?", "1", *few],
    ]
    cases = cases_of(table(tmp_path, "\n".join(",".join(line) for line in lines)))
    assert [case.options for case in cases] == [("0", "1")]
    assert "it has 27 options" in cases.dropped[0][1]


def test_a_number_of_parquet_has_the_digits_of_its_type(tmp_path: Path) -> None:
    columns = {"image": ["a"] * 3, "question": ["?"] * 3}
    answers = pyarrow.array([0.1, 3, None], pyarrow.float32())
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({**columns, "answer": answers}), path)
    assert [case.answer for case in cases_of(str(path))] == ["0.1", "3"]


def test_indices_that_count_from_one_are_refused(tmp_path: Path) -> None:
    head = "image,question,A,B,C,answer\n"
    path = table(tmp_path, head + "a,?,x,y,z,1\na,?,x,y,z,3\na,?,x,y,z,2\n")
    with pytest.raises(UserError, match=r"seem to count from 1: none is 0, and that of row 3 of"):
        cases_of(path, gold="index")
    path = table(tmp_path, head + "a,?,x,y,z,1\na,?,x,y,z,3\na,?,x,y,z,0\n")
    assert [case.answer for case in cases_of(path, gold="index")] == ["y", "x"]


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"questions.csv has no rows; fix: "):
        cases_of(table(tmp_path, "image,question,answer\n\n"))
