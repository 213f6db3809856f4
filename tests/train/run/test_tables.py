"""A run resumes only on the table with which it began."""

from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.train.data.order import GoldCases
from medgym.train.recipe.schema import CasesPart
from medgym.train.run.fingerprint import check_unchanged, fingerprints, of_cases


def test_a_table_that_has_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine, 1.csv"
    path.write_text("image,question,answer\na.png,Is it?,yes\n")
    spec = f'table,path="{path}":all'
    cases = GoldCases(spec)
    held = fingerprints(of_cases(cases))
    check_unchanged(held, list(of_cases(cases)), tmp_path)
    path.write_text("image,question,answer\na.png,Is it?,no\n")
    with pytest.raises(UserError, match=r"mine, 1\.csv has changed since the run in"):
        check_unchanged(held, list(of_cases(cases)), tmp_path)


def test_a_part_of_a_mixture_is_called_by_its_source_or_its_file() -> None:
    specs = {"table,path=a.jsonl:all[:5]": "table", "my/cases.jsonl[:5]": "cases"}
    assert {spec: CasesPart(spec=spec).label for spec in specs} == specs
