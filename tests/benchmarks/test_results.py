"""The figures that are kept: measured on a machine that is named, in the form of `--json`."""

import json
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks/results").glob("*.json"))


def test_there_are_some() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_results(file: Path) -> None:
    kept = json.loads(file.read_text("utf-8"))
    assert set(kept) == {"machine", "libraries", "measured", "rows"}
    assert "cores" in kept["machine"]
    for row in kept["rows"]:
        assert list(row) == ["metric", "value", "unit", "rival", "rival_value", "ratio"]
        assert row["ratio"] == pytest.approx(row["value"] / row["rival_value"])
