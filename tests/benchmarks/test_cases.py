"""The benchmark of tables: both sides open the same files, and find the same in them."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datasets")

from medgym.benchmarks.cases import measure
from medgym.benchmarks.cases.files import SIDE, order, write_csv, write_parquet
from medgym.benchmarks.studies.resident import CLEAR
from medgym.imaging.opened import opened_image

pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason="reads /proc")


@pytest.mark.parametrize("name", ["files.csv", "cells.parquet"])
def test_both_sides_see_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "INDEXED", 4)
    monkeypatch.setattr(measure, "DECODED", 3)
    path = Path(name)
    write = write_csv if path.suffix == ".csv" else write_parquet
    write(path, 30, 5)
    write(path.with_stem("before"), 10, 1)
    ours, theirs = measure._ours(path), measure._theirs(path)
    assert len(ours) == len(theirs) == 30
    for row in order(30, 5):
        case = ours[row]
        assert theirs[row]["question"] == case.question
        assert theirs[row]["answer"] == case.answer
        assert opened_image(case.images[0]).start.pixels.shape == (SIDE, SIDE)
    measure._index_theirs(theirs, 2)
    measure._decode_theirs(theirs, 2)
    for step, times in (("open", 1), ("index", 4), ("decode", 3), ("memory", 3)):
        seconds, made, grown = measure.measured("ours", step, path, path.with_stem("before"))
        assert (made, seconds > 0, grown >= 0) == (times, True, True)


def test_figures_become_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, str, str]] = []

    def measured(side: str, step: str, path: Path) -> measure.Figures:
        assert path.is_file()
        taken.append((side, step, path.name))
        return (0.5, 10, 2**20) if side == "ours" else (0.25, 10, 2**21)

    monkeypatch.setattr(measure, "_measured", measured)
    rows = {row.metric: row for row in measure.cases(6, 2, 8, repetitions=1)}
    assert len(rows) == 10
    assert len(taken) == 20
    assert (rows["cases.files.open"].value, rows["cases.files.open"].rival_value) == (500, 250)
    assert (rows["cases.cells.index"].value, rows["cases.cells.index"].rival_value) == (20, 40)
    assert rows["cases.million.memory"].ratio == 0.5
    assert json.dumps([row.plain() for row in rows.values()])


def test_rows_are_taken_in_the_same_order_by_both_sides() -> None:
    assert list(order(100, 20)) == list(order(100, 20))
    assert len({*order(100, 20)}) > 10
    assert np.all(np.array(list(order(7, 50))) < 7)
