"""Every planted fault is found by name, as the table in docs/trust.md says.

The table is written by these tests: `WRITE_TRUST=1 pytest -n0 tests/trust`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trust.faults import FAULTS, Fault, Scene

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
BEGIN, END = "<!-- planted faults -->\n", "<!-- end -->"
HEAD = "| fault | found by | in step |\n|---|---|---|\n"


def rows() -> dict[str, str]:
    """The lines of the table by their fault."""
    lines = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


@pytest.fixture
def scene(
    monkeypatch: pytest.MonkeyPatch,
    make_trainer: Callable[..., Any],
    tiny_folder: Path,
    tmp_path: Path,
    uneven: Any,
) -> Scene:
    (tmp_path / "run").mkdir()
    return Scene(monkeypatch, make_trainer, tiny_folder, tmp_path / "run", uneven)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_planted_fault_is_found(fault: Fault, scene: Scene) -> None:
    line = " | ".join((f"| {fault.what}", *fault.found(scene))) + " |"
    if os.environ.get("WRITE_TRUST"):
        known = rows() | {fault.what: line}
        table = "".join(known[each.what] + "\n" for each in FAULTS if each.what in known)
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + HEAD + table + END + rest.partition(END)[2], "utf-8")
    assert rows().get(fault.what) == line, "the table is old; fix: WRITE_TRUST=1"


def test_the_table_lists_every_fault_once() -> None:
    assert list(rows()) == [fault.what for fault in FAULTS]


def test_nothing_is_found_where_nothing_is_planted(scene: Scene) -> None:
    scene.trainer().train()
    scene.follow(steps=3)


def test_an_engine_that_is_behind_has_patience(scene: Scene) -> None:
    scene.follow(steps=3, publish_every=3)
