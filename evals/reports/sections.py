"""The figures of one or more runs as sections of a page."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from medgym.commands.printing import percent
from medgym.errors import UserError

from ..breakdown.calibrated import SOURCES, calibrations
from ..breakdown.subgroups import SMALL, subgroups
from ..comparison import compare
from ..evaluating.records import NOT_JUDGED
from ..outcomes.figures import LENIENT, VERDICTS, accuracy
from ..outcomes.outcome import CaseOutcome
from ..protocol import differing_protocol, same_views
from . import charts
from .figures import accuracy_of, bounds, p_value, share, why_no_accuracy
from .parts import Chart, Section, Table
from .run import ReportedRun

ALL = "all"
CHARTED = 20
"""Rows of a table of subgroups that are drawn."""

Named = tuple[str, Collection[CaseOutcome]]


def headline(runs: Sequence[ReportedRun]) -> Section:
    """Accuracy by both readings, and whether it looked; of each benchmark and judged policy."""
    rows, drawn, without = [], [], []
    for run in runs:
        for benchmark, policy, way, judged in run.judgements():
            rate = accuracy_of(judged)
            lenient = judged.get("metrics", {}).get(LENIENT)
            rows.append((
                run.name, benchmark or "-", policy, way, f"{rate.get('n') or 0:,}",
                percent(rate.get("value")), bounds(rate), share(lenient),
                _number(judged.get("reward")), percent(judged.get("answered")),
                percent(judged.get("looked")), percent(judged.get("hit")),
            ))  # fmt: skip
            label = " ".join(filter(None, (benchmark, policy if not benchmark else "", way)))
            if rate:
                drawn.append((label, {run.name: rate}))
            else:
                without.append(f"{run.name}, {label}: {why_no_accuracy(judged)}")
    if not rows:  # a run without results.json
        for name, outcomes in _named(runs):
            strict, lenient = (accuracy(outcomes, lenient=each).as_dict() for each in (False, True))
            if not strict["n"]:
                strict = lenient = {}
            rows.append((
                name, "-", "-", "-", f"{strict.get('n', 0):,}", percent(strict.get("value")),
                bounds(strict), share(lenient or None), "-", "-", "-", "-",
            ))  # fmt: skip
            if strict:
                drawn.append(("", {name: strict}))
    if all("pivot" in run.results for run in runs):  # which judges no policy
        return Section("headline", "Headline")
    headings = (
        "run", "benchmark", "policy", "replies", "episodes", "right", "95 % interval",
        "read leniently", "mean reward", "answered", "looked", "hit a region",
    )  # fmt: skip
    table = Table(headings, rows, "Accuracy").narrowed()
    said = [
        "Right is by the strict reading, the one of rewards: an answer that is not in medgym's "
        "form is not right. The lenient reading takes an answer in any form. Intervals are 95 %, "
        "over groups such as patients. Episodes that could not be read or played are left out.",
        *(
            f"{run.name}: what is below the headline is about the judged policy {run.policy}, "
            "sampled"
            for run in runs
            if run.policy
        ),
        *(f"{run.name}: {run.without}" for run in runs if run.without),
        *without,
        *(
            f"{run.name}: {benchmark} could not be judged: {why}"
            for run in runs
            for benchmark, why in run.results.get(NOT_JUDGED, {}).items()
        ),
    ]
    drawn = _merged(drawn)
    if len(drawn) > 2 * CHARTED:
        said.append(f"The chart has the first {2 * CHARTED} of {len(drawn):,} rows of the table.")
    return Section(
        "headline", "Headline", said, [table],
        [charts.shares("Accuracy with its 95 % interval.", drawn[: 2 * CHARTED])],
    )  # fmt: skip


def _merged(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Rows of one label are one row, with a figure for each run."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for label, rates in rows:
        found.setdefault(label, {}).update(rates)
    return list(found.items())


def verdicts(runs: Sequence[ReportedRun]) -> Section:
    """What became of the episodes, in numbers, by benchmark."""
    rows, drawn = [], []
    for name, outcomes in _each(runs):
        for reading in ("strict", "lenient"):
            counts: Counter[str] = Counter(
                each.verdict if reading == "strict" else each.lenient_verdict for each in outcomes
            )
            rows.append((name, reading, *(f"{counts[verdict]:,}" for verdict in VERDICTS)))
            drawn.append((f"{name}, {reading}", counts))
    if not rows:
        return Section("verdicts", "Verdicts")
    said = (
        "Unparsed: an answer that is none of its type. Unanswered: an episode without an answer. "
        "Unreadable: the case itself cannot be read. Failed: the machinery failed. The last two "
        "are no wrong answers and are left out of all shares."
    )
    chart = charts.stacked(
        "Episodes by verdict, by the strict and the lenient reading.", drawn[: 2 * CHARTED]
    )
    return Section(
        "verdicts",
        "Verdicts",
        [said],
        [Table(("run", "reading", *VERDICTS), rows, "Episodes")],
        [chart],
    )


def differences(runs: Sequence[ReportedRun]) -> Section:
    """Each further run against the first, in pairs."""
    first, *others = runs
    rows, drawn, said = [], [], []
    for other in others:
        try:
            found = compare(
                first.outcomes, other.outcomes, names=(first.name, other.name),
                same_views=same_views(first.asked, other.asked),
            )  # fmt: skip
        except UserError as error:
            said.append(f"{other.name} cannot be compared with {first.name}: {error}")
            continue
        for line in differing_protocol(first.asked, other.asked):
            said.append(f"{other.name}: the protocol differs in {line}")
        for each in found:
            gap = each.difference.interval
            label = f"{other.name}{f', {each.benchmark}' if each.benchmark else ''}"
            rows.append((
                label, f"{gap.n:,}", percent(each.first.value), percent(each.second.value),
                f"{100 * gap.value:+.1f}", f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}",
                p_value(each.adjusted), str(len(each.gained)), str(len(each.lost)),
                each.difference.outcome,
            ))  # fmt: skip
            drawn.append((label, gap.as_dict()))
    if rows:
        said.append(
            f"Each run against {first.name}, in pairs of the same cases. The interval is 95 %, by "
            "bootstrap over groups; p is of the permutation test over groups, adjusted over the "
            "benchmarks of a run (Holm)."
        )
    headings = (
        "run", "episodes", "first", "this", "difference", "95 % interval", "p", "only this right",
        "only the first", "verdict",
    )  # fmt: skip
    tables = [Table(headings, rows)] if rows else []
    drawings = [charts.differences(f"Difference to {first.name}.", drawn)] if rows else []
    return Section("differences", f"Against {first.name}", said, tables, drawings)


def by_subgroup(runs: Sequence[ReportedRun]) -> Section:
    """The accuracy of each kind of case."""
    found = {name: subgroups(outcomes) for name, outcomes in _named(runs)}
    kinds = list(dict.fromkeys(kind for each in found.values() for kind in each))
    tables: list[Table] = []
    drawings: list[Chart] = []
    small = False
    for kind in kinds:
        values = list(dict.fromkeys(v for each in found.values() for v in each.get(kind, {})))
        rows, drawn = [], []
        for value in values:
            rates = {
                name: each[kind][value]
                for name, each in found.items()
                if value in each.get(kind, {})
            }
            for name, figures in rates.items():
                marked = bool(figures.get("small"))
                small = small or marked
                rows.append((
                    value + " *" * marked, name, f"{figures['accuracy']['n']:,}",
                    f"{figures['groups']:,}", percent(figures["accuracy"]["value"]),
                    bounds(figures["accuracy"]), share(figures[LENIENT]),
                ))  # fmt: skip
            drawn.append((value, {name: each["accuracy"] for name, each in rates.items()}))
        title = kind.replace("_", " ")
        headings = (title, "run", "episodes", "groups", "right", "95 % interval", "leniently")
        tables.append(Table(headings, rows, f"By {title}"))
        drawings.append(charts.shares(f"Accuracy by {title}.", drawn[:CHARTED]))
    if not tables:
        return Section("subgroups", "Subgroups")
    said = ["Only kinds of which there are several values. Nothing is adjusted for their number."]
    if small:
        said.append(f"* fewer than {SMALL} groups: one patient moves such a figure.")
    return Section("subgroups", "Subgroups", said, tables, drawings)


def calibrated(runs: Sequence[ReportedRun]) -> Section:
    """Whether the policy knows when it is right, where a confidence is known."""
    found = {
        (name, source): figures
        for name, outcomes in _each(runs)
        for source, figures in calibrations(outcomes).items()
    }
    if not found:
        return Section("calibration", "Calibration")
    rows, kept = [], []
    for (name, source), each in found.items():
        rows.append((
            name, source, f"{each['n']:,}", *map(_points, (each["error"], each["overconfidence"])),
            _decimal(each["brier"]), f"{each['area']:.3f}",
        ))  # fmt: skip
        for level in each["kept"]:
            kept.append((
                name, source, percent(level["asked"]), percent(level["coverage"]),
                f"{level['threshold']:.3f}", share(level["accuracy"]),
            ))  # fmt: skip
    sources = dict.fromkeys(source for _, source in found)
    said = [
        "Where the confidence comes from: "
        + "; ".join(f"{source}: {SOURCES[source]}" for source in sources)
        + ".",
        "Only episodes with an answer count. ECE is the mean distance of confidence and share "
        "right over ten bins; few answers make it too high, and its interval is wider than need "
        "be: where it holds 0, no miscalibration is found. "
        "Overconfidence is mean confidence less share right. The area is the mean share of wrong "
        "answers over all coverages; it is a figure of one order of the answers and has no "
        "interval.",
    ]
    first = ("run", "confidence", "answers", "ECE, points", "overconfidence, points", "Brier")
    tables = [
        Table((*first, "area"), rows, "Calibration"),
        Table(
            ("run", "confidence", "to keep", "kept", "from confidence", "right of these"), kept,
            "Abstention: only the most confident answers are given",
        ),
    ]  # fmt: skip
    names = {f"{name}, {source}": each for (name, source), each in found.items()}
    drawings = [
        charts.reliability("Share right by confidence; larger points are more answers.", names),
        charts.risk_and_coverage("Share of wrong answers by how many are given.", names),
    ]
    return Section("calibration", "Calibration", said, tables, drawings)


def _named(runs: Sequence[ReportedRun]) -> Iterator[Named]:
    """Each run's outcomes, of all its benchmarks together."""
    for run in runs:
        if run.outcomes:
            yield run.name, run.outcomes


def _each(runs: Sequence[ReportedRun]) -> Iterator[Named]:
    """The outcomes of each run and benchmark."""
    for run in runs:
        for benchmark, outcomes in run.benchmarks.items():
            yield f"{run.name}{f', {benchmark}' if benchmark else ''}", outcomes


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _points(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:.1f} ({bounds(figure)})"


def _decimal(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
