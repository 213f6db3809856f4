"""What else a run's results hold: further measurements, tokens, cost, and notes on its cases."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medgym.case_notes import note_lines

from ..outcomes.figures import LENIENT
from .figures import cell, is_rate, named_cell
from .parts import Section, Table
from .run import ReportedRun

MEASURED: Mapping[str, str] = {
    "robustness": "Robustness",
    "hallucination": "Hallucination",
    "looking": "Looking",
    "pivot": "Pivots",
    "baselines": "Baselines",
    "judged_by": "Judged by a model",
}
"""Keys of results that hold tables of their own, and the titles of their sections."""

MOST_ROWS = 200
"""Rows of a table that are shown."""

DEEPEST = 4


def measurements(runs: Sequence[ReportedRun]) -> Iterator[Section]:
    """A section for each kind of measurement that a run holds, and one for all further metrics."""
    for key, title in MEASURED.items():
        tables = [
            Table(each.headings, each.rows, f"{label}{f': {each.caption}' if each.caption else ''}")
            for label, value in _holding(runs, key)
            for part in (_by_benchmark(value) if key == "pivot" else [value])
            for each in tables_of(part)
        ]
        yield Section(key, title, tables=tables)
    yield Section("metrics", "Further figures", tables=_metrics(runs))


def _by_benchmark(pivots: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The figures of pivots, those of each benchmark below its name."""
    found: list[Mapping[str, Any]] = []
    for row in pivots:
        name = row.get("benchmark")
        figures = {key: value for key, value in row.items() if key != "benchmark"}
        found.append({"benchmark": name, **figures} if name else figures)
    return found


def _holding(runs: Sequence[ReportedRun], key: str) -> Iterator[tuple[str, Any]]:
    """What the results hold under a key: of the run, of a benchmark, of a judgement."""
    for run in runs:
        if run.results.get(key):
            yield run.name, run.results[key]
        for benchmark, part in run.parts():
            if benchmark and part.get(key):
                yield _label(run.name, benchmark), part[key]
        for benchmark, policy, way, judgement in run.judgements():
            if judgement.get(key):
                yield _label(run.name, benchmark, policy, way), judgement[key]


def tables_of(value: Any, caption: str = "", depth: int = 0) -> Iterator[Table]:
    """Figures of an unknown form as tables.

    A list of rows is a table; so is a mapping of names to figures, or to rows of equal keys. What
    is nested deeper gets a table of its own.
    """
    if isinstance(value, Mapping) and not is_rate(value):
        inside = {name: each for name, each in value.items() if _is_nested(each)}
        plain = {
            name: each
            for name, each in value.items()
            if name not in inside and each not in ([], {})
        }
        if plain:
            cells = [(_heading(name), named_cell(name, each)) for name, each in plain.items()]
            yield Table(("", "figure"), cells, caption)
        if inside and all(isinstance(v, Mapping) and not _deep(v) for v in inside.values()):
            yield _rows([{"": name, **each} for name, each in inside.items()], caption)
        elif depth < DEEPEST:
            for name, each in inside.items():
                yield from tables_of(each, f"{caption} {name}".strip(), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [each for each in value if isinstance(each, Mapping)]
        if rows:
            yield _rows(rows, caption)
        elif value:
            yield Table(("",), [(cell(each),) for each in value[:MOST_ROWS]], caption)
    else:
        yield Table(("", "figure"), [(caption or "value", cell(value))])


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not is_rate(value)
    return isinstance(value, list) and any(isinstance(each, Mapping) for each in value)


def _deep(value: Mapping[str, Any]) -> bool:
    return any(_is_nested(each) for each in value.values())


def _rows(rows: Sequence[Mapping[str, Any]], caption: str) -> Table:
    headings = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[named_cell(name, row.get(name)) for name in headings] for row in rows[:MOST_ROWS]]
    left = _left_out(len(rows) - len(cells))
    return Table([*map(_heading, headings)], cells, caption + left)


def _heading(name: str) -> str:
    """The name of a figure in words."""
    return name.replace("_", " ")


def _metrics(runs: Sequence[ReportedRun]) -> list[Table]:
    metrics, answers = [], []
    for run in runs:
        for benchmark, policy, way, judgement in run.judgements():
            label = _label(run.name, benchmark, policy, way)
            for name, value in judgement.get("metrics", {}).items():
                if name != LENIENT and value is not None:
                    metrics.append((label, name, named_cell(name, value)))
            for name, value in judgement.get("by_answer", {}).items():
                answers.append((label, name, cell(value)))
    found = [
        (("run", "figure", "value"), metrics, "Further figures"),
        (("run", "gold answer", "right"), answers, "Accuracy by gold answer"),
    ]
    return [
        Table(headings, rows[:MOST_ROWS], caption + _left_out(len(rows) - MOST_ROWS))
        for headings, rows, caption in found
        if rows
    ]


def _left_out(count: int) -> str:
    return f", {count:,} more rows are left out" if count > 0 else ""


def spending(runs: Sequence[ReportedRun]) -> Section:
    """What the episodes took: replies, calls, tokens, cost, time."""
    rows = []
    for run in runs:
        for benchmark, policy, way, judgement in run.judgements():
            label = _label(run.name, benchmark, policy, way)
            means = (cell(judgement.get(name)) for name in ("turns", "calls", "tokens"))
            rows.append((label, *means, *_sums(judgement)))
            if "usage" in (judge := judgement.get("judged_by", {})):
                rows.append((_label(label, f"judge {judge['judge']}"), *"---", *_sums(judge)))
    headings = (
        "run", "replies", "tool calls", "tokens", "tokens read in all", "tokens written in all",
        "cost",
    )  # fmt: skip
    table = Table(headings, rows, "Means of an episode, and sums").narrowed()
    tables = [table] if len(table.headings) > 1 else []
    took = [
        (run.name, stage, f"{seconds:,.1f}")
        for run in runs
        for stage, seconds in run.results.get("seconds", {}).items()
    ]
    if took:
        tables.append(Table(("run", "stage", "seconds"), took))
    return Section("spending", "Tokens, cost and time", tables=tables)


def _sums(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """The tokens of all requests and their cost."""
    usage = figures.get("usage", {})
    return tuple(cell(usage.get(n)) for n in ("prompt_tokens", "completion_tokens", "cost"))


def of_the_cases(runs: Sequence[ReportedRun]) -> Section:
    """What is to be said of the cases: notes, rows left out, what was learned and judged by."""
    said = []
    for run in runs:
        for _, part in run.parts():
            said += note_lines(part)
            for each in part.get("overlap", ()):
                said.append(
                    f"beware: of the {each['of']} cases of {each['held_out']}, {each['cases']} are "
                    f"also in {each['learned']}, and {each['groups']} share a group with it"
                )
                said += each.get("declared", ())
            if found := part.get("unreadable"):
                said.append(_unreadable("training", found))
        for benchmark, policy, _, judgement in run.judgements():
            if found := judgement.get("unreadable"):
                said.append(_unreadable(benchmark or policy, found))
        said += note_lines(run.manifest)
    return Section("cases", "What to know of the cases", list(dict.fromkeys(said)))


def _unreadable(where: str, found: Mapping[str, Any]) -> str:
    first = found["first"][0] if found.get("first") else {"case": "?", "why": "?"}
    return (
        f"{where}: {found['count']} of {found['of']} cases cannot be read, the first of them "
        f"{first['case']} ({first['why']})"
    )


def _label(*words: str) -> str:
    return ", ".join(word for word in words if word)
