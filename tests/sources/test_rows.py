"""Many rows open without being made, and rows that make no case are dropped by place and reason."""

import gc
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from medgym.cases import Case, CaseKey, open_cases
from medgym.errors import UserError
from medgym.sources.arrow_rows import ArrowRows, spooled
from medgym.sources.rows import Dropped, RowCases

MILLION = 1_000_000


class Counted(Sequence[int]):
    """Rows that count how often they are asked for."""

    def __init__(self, count: int) -> None:
        self.rows = range(count)
        self.asked = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        self.asked += 1
        return self.rows[index]


def case_of(number: int) -> Case:
    answer = "" if number % 7 == 0 else "yes"
    return Case(
        id=f"t/train/{number}", images=(), question="?", answer=answer, answer_type="closed",
        group=f"p{number // 2}", source="t", split="train",
    )  # fmt: skip


def place(number: int) -> str:
    return f"row {number + 1} of a.csv"


def key_of(number: int) -> CaseKey:
    return CaseKey(f"t/train/{number}", "t", f"p{number // 2}")


def test_only_suspects_of_a_million_rows_are_made_to_open_them() -> None:
    rows = Counted(MILLION)
    cases = open_cases(
        RowCases(rows, case_of, place, suspects=[14, 15, 700_000], key=key_of, unique_ids=True)
    )
    assert len(cases) == MILLION - 2
    assert rows.asked == 3
    assert cases.dropped == [
        Dropped("row 15 of a.csv", "the answer is blank"),
        Dropped("row 700001 of a.csv", "the answer is blank"),
    ]
    assert [case.id for case in cases[13:16]] == ["t/train/13", "t/train/15", "t/train/16"]
    assert cases.all_gold
    asked = rows.asked
    assert cases.shuffled(0)[::1000].shuffled(1)[:10][0].id
    assert rows.asked == asked + 1


def test_all_rows_are_looked_at_where_none_are_known_to_be_good() -> None:
    cases = RowCases(range(8), case_of, place)
    assert list(cases.kept) == [1, 2, 3, 4, 5, 6]
    assert [each.place for each in cases.dropped] == ["row 1 of a.csv", "row 8 of a.csv"]
    looked = RowCases(range(8), case_of, place, lambda row: "odd" if row % 2 else None)
    assert [case.id for case in looked] == [f"t/train/{n}" for n in (0, 2, 4, 6)]


def test_keys_and_ids_are_found_without_cases() -> None:
    rows = Counted(50)
    cases = open_cases(RowCases(rows, case_of, place, suspects=[7], key=key_of))
    keys = list(cases.case_keys())
    assert keys[7] == CaseKey("t/train/8", "t", "p4")
    assert len(keys) == 49
    assert cases.find("t/train/30").id == "t/train/30"
    with pytest.raises(UserError, match="no case 't/train/7' among these"):
        cases.find("t/train/7")


def test_a_list_that_cannot_hold_an_id_twice_remembers_none() -> None:
    twice = [1, 2, 1]
    with pytest.raises(UserError, match="two cases have the id 't/train/1'"):
        list(open_cases(RowCases(twice, case_of, place, suspects=())))
    unique = open_cases(RowCases(range(1, 4), case_of, place, unique_ids=True))
    assert len(list(unique)) == 3
    assert not unique._ids._places


def test_rows_of_a_spooled_table_are_those_that_were_written() -> None:
    batches = [
        pa.record_batch({"id": ["007", "NA"], "answer": ["None", ""]}),
        pa.record_batch({"id": ["é\n", "x"], "answer": [None, "yes"]}),
    ]
    before = pa.total_allocated_bytes()
    rows = ArrowRows(spooled(iter(batches), batches[0].schema))
    assert pa.total_allocated_bytes() == before
    gc.collect()
    assert rows[1] == {"id": "NA", "answer": ""}
    assert rows[-1] == {"id": "x", "answer": "yes"}
    assert rows[1:3] == [{"id": "NA", "answer": ""}, {"id": "é\n", "answer": None}]
    assert len(rows) == len(list(rows)) == 4
    with pytest.raises(IndexError):
        rows[4]


def test_a_column_of_texts_needs_no_pandas() -> None:
    code = """if True:
        import sys
        import pyarrow
        from medgym.sources.arrow_rows import give_back, spooled, texts
        words = texts("e\u0301", "", "None")
        assert words.to_pylist() == ["e\u0301", "", "None"]
        batch = pyarrow.record_batch([words], names=["a"])
        table = spooled([batch], batch.schema)
        give_back()
        assert table.column("a").to_pylist() == words.to_pylist()
        assert "pandas" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode, done.stderr
