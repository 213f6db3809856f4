"""Tables in 80 columns: what is too long for a line goes on in the next one, and nothing is cut."""

import pytest

from medgym.commands.printing import WIDTH, print_columns, print_table

Capture = pytest.CaptureFixture[str]
LONG = "runs/a-folder/with-a-very-long-name/that-fills-most-of-a-line/of-a-terminal"


def test_a_long_name_stands_on_a_line_of_its_own(capsys: Capture) -> None:
    rows = [("short", "1", "2"), (LONG, "100.0 %", "x" * 30)]
    print_columns(("run", "a", "b"), rows, WIDTH)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[2] == LONG
    assert lines[3].split() == ["100.0", "%", "x" * 30]
    assert lines[0].index("a") + 1 == lines[1].index("1") + 1 == lines[3].index("%") + 1


def test_a_table_that_fits_is_as_it_was(capsys: Capture) -> None:
    rows = [("one", "1"), ("two", "22")]
    print_columns(("run", "n"), rows)
    plain = capsys.readouterr().out
    print_columns(("run", "n"), rows, WIDTH)
    assert capsys.readouterr().out == plain
    print_table(rows)
    plain = capsys.readouterr().out
    print_table(rows, WIDTH)
    assert capsys.readouterr().out == plain


def test_a_long_value_goes_on_below_itself(capsys: Capture) -> None:
    print_table([("verdicts", "right,12 " * 20), (LONG, "a value"), ("none", "")], WIDTH)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "".join(lines).count("right,12") == 20
    assert lines[1].startswith(" " * len("verdicts  "))
    assert lines[-3] == LONG
