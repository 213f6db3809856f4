"""What `medgym eval` prints: a table of one policy on cases, or a line for each benchmark."""

from collections.abc import Mapping
from typing import Any

from medgym.case_notes import note_lines
from medgym.commands.printing import print_columns, print_table, safe_line
from medgym.suite import Suite

from ..answer_tables import TABLES as ANSWER_TABLES
from ..answer_tables import missing_lines
from ..baselines.beside import print_baselines
from ..replay.store import CacheCounts
from ..suites.published import OTHER_PROTOCOLS, published_sources, published_table
from ..tables import (
    BENCHMARK,
    OPEN,
    ROLE,
    benchmark_rows,
    hint,
    open_rows,
    role_rows,
    rows,
    withheld_rows,
)
from .judging import JudgedBenchmark


def print_judged(
    suite: Suite, found: Mapping[str, JudgedBenchmark], content: Mapping[str, Any]
) -> None:
    """Print the figures, then what is to be said of the cases.

    Args:
        content: of `results.json`.
    """
    if suite.name:
        _print_suite(suite, found)
    else:
        _print_one(suite, found[""])
    print_baselines(content)
    for line in missing_lines(each.judgement.metrics for each in found.values()):
        print(line)
    if cache := content.get("cache"):
        print(CacheCounts(**cache))
    for part in content.get("benchmarks", {"": content}).values():
        for line in note_lines(part):
            print(safe_line(line, None))


def _print_suite(suite: Suite, found: Mapping[str, JudgedBenchmark]) -> None:
    judgements = {name: each.judgement for name, each in found.items()}
    print_columns((f"suite {suite.name}", *BENCHMARK), benchmark_rows(judgements))
    if took := [(name, *row) for name, each in found.items() for row in each.spent.rows()]:
        print_columns(("took", "what", "in all"), took)
    if open_answers := open_rows(judgements):
        print_columns(("open answers", *OPEN), open_answers)
    for headings, made_of in ANSWER_TABLES:
        if made := made_of(judgements):
            print_columns(headings, made)
    if withheld := withheld_rows(judgements):
        print_columns(("left out", "why", "share"), withheld)
    if suite.published:
        print(f"\n{OTHER_PROTOCOLS}")
        print_columns(*published_table(suite.published))
        for line in published_sources(suite.published):
            print(line)


def _print_one(suite: Suite, judged: JudgedBenchmark) -> None:
    judgement = judged.judgement
    print_table([*rows(judgement, suite.rubric), *judged.spent.rows()])
    if judgement.roles:
        print()
        print_columns(("role", *ROLE), role_rows(judgement))
    if said := hint(judgement):
        print(said)
