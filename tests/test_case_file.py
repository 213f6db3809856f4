"""A file of cases, of which each line is read when its case is asked for."""

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from medgym.case_file import CaseFile
from medgym.cases import CaseList, open_cases, read_cases, write_cases
from medgym.errors import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_cases(open_cases("phantom:test[:6]"), tmp_path / "cases.jsonl")
    return tmp_path / "cases.jsonl"


def test_cases_are_made_when_they_are_asked_for(path: Path) -> None:
    cases = CaseFile(path)
    assert [*cases] == [*open_cases(path)] == read_cases(path)
    assert cases[1:3] == [cases[1], cases[2]]
    assert cases[-1] == cases[5]
    assert [*pickle.loads(pickle.dumps(cases))] == [*cases]


def test_a_file_of_cases_takes_little_memory(path: Path) -> None:
    lines = path.read_text().splitlines()[0]
    case_id = read_cases(path)[0].id
    path.write_text("".join(lines.replace(case_id, f"own/{n}") + "\n" for n in range(600)))
    open_cases(path)
    tracemalloc.start()
    try:
        found = open_cases(path)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(found) == 600
    assert kept < 600 * 100


def test_a_file_that_is_replaced_stays_as_it_was(path: Path) -> None:
    found = open_cases(path)
    before = [*found]
    path.rename(path.with_name("old.jsonl"))
    path.write_text("")
    assert [*found] == before


def test_a_line_that_is_written_over_is_noticed(path: Path) -> None:
    found = open_cases(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1].replace("phantom", "Phantom"), *lines[2:]]))
    assert found[0].id
    with pytest.raises(UserError, match=r"cases\.jsonl, line 2 was changed after it was opened"):
        found[1]


def test_cases_are_found_by_their_ids_whatever_their_order(path: Path) -> None:
    lists: list[CaseList] = [
        open_cases(path), open_cases(path)[1:4], open_cases(path).shuffled(3),
        open_cases("phantom,shuffle=2:test[:9]"),
    ]  # fmt: skip
    for cases in lists:
        assert [cases.find(case.id) for case in cases] == [*cases]
        with pytest.raises(UserError, match="no case 'phantom/test/none-1' among these"):
            cases.find("phantom/test/none-1")
    with pytest.raises(UserError, match="among these"):
        open_cases("phantom,shuffle=2:test[:9]")[:1].find(lists[3][5].id)


def test_a_list_of_another_process_finds_its_cases(path: Path) -> None:
    cases = open_cases(path)
    assert cases.find(cases[4].id) == cases[4]
    program = (
        "import pickle, sys; cases = pickle.load(sys.stdin.buffer);"
        "assert cases.find(cases[4].id) == cases[4]"
    )
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(cases), check=True)
