"""What `medgym eval` prints: a table of one policy on cases, or a line for each benchmark."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from medgym.case_notes import note_lines
from medgym.commands.printing import WIDTH, print_columns, print_table, safe_line
from medgym.suite import Suite

from ..answer_tables import TABLES as ANSWER_TABLES
from ..answer_tables import missing_lines
from ..baselines.beside import print_baselines
from ..breakdown.results import Breakdown
from ..breakdown.tables import print_breakdown
from ..looking.printed import SUITE, print_looking, suite_rows
from ..replay.store import CacheCounts
from ..suites.published import OTHER_PROTOCOLS, published_sources, published_table
from ..tables import (
    BENCHMARK,
    OPEN,
    ROLE,
    benchmark_rows,
    counted_as,
    hint,
    open_rows,
    role_rows,
    rows,
    withheld_rows,
)
from .judging import JudgedBenchmark
from .records import NOT_JUDGED


def print_judged(
    suite: Suite,
    found: Mapping[str, JudgedBenchmark],
    content: Mapping[str, Any],
    by: Sequence[str] = (),
) -> None:
    """Print the figures, then what is to be said of the cases.

    Args:
        content: of `results.json`.
        by: kinds of cases of which subgroups are printed.
    """
    if suite.name:
        _print_suite(suite, found, content.get(NOT_JUDGED, {}))
    else:
        _print_one(suite, found[""])
    print_baselines(content)
    print_breakdown(_breakdowns(content), by)
    for line in missing_lines(each.judgement.metrics for each in found.values()):
        print(line)
    if cache := content.get("cache"):
        print(CacheCounts(**cache))
    for part in content.get("benchmarks", {"": content}).values():
        for line in note_lines(part):
            print(safe_line(line, None))


def _breakdowns(content: Mapping[str, Any]) -> dict[str, Breakdown]:
    """The subgroups and the calibration of each benchmark; of one policy, judged one way."""
    return {
        name: judgement
        for name, part in content.get("benchmarks", {"": content}).items()
        for ways in part["policies"].values()
        for judgement in ways.values()
    }


def _print_suite(
    suite: Suite, found: Mapping[str, JudgedBenchmark], not_judged: Collection[str]
) -> None:
    judgements = {name: each.judgement for name, each in found.items()}
    named = partial(counted_as, judgements.values())
    table = [*benchmark_rows(judgements), *((name, *"-" * len(BENCHMARK)) for name in not_judged)]
    print_columns((f"suite {suite.name}", *named(BENCHMARK)), table, WIDTH)
    if took := [(name, *row) for name, each in found.items() for row in each.spent.rows()]:
        print_columns(("took", "what", "in all"), took, WIDTH)
    if open_answers := open_rows(judgements):
        print_columns(("open answers", *named(OPEN)), open_answers, WIDTH)
    for headings, made_of in ANSWER_TABLES:
        if made := made_of(judgements):
            print_columns(named(headings), made, WIDTH)
    if looked := suite_rows(judgements):
        print_columns(SUITE, looked, WIDTH)
    if withheld := withheld_rows(judgements):
        print_columns(("left out", "why", "share"), withheld, WIDTH)
    if suite.published:
        print(f"\n{OTHER_PROTOCOLS}")
        print_columns(*published_table(suite.published), WIDTH)
        for line in published_sources(suite.published):
            print(line)


def _print_one(suite: Suite, judged: JudgedBenchmark) -> None:
    judgement = judged.judgement
    print_table([*rows(judgement, suite.rubric), *judged.spent.rows()], WIDTH)
    if judgement.roles:
        print()
        print_columns(("role", *ROLE), role_rows(judgement), WIDTH)
    else:  # of a consultation, the role that decides need not be the one that looks
        print_looking(judgement)
    if said := hint(judgement):
        print(said)
