"""Baselines beside the figures of an evaluation: in `results.json`, and below its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from medgym.commands.printing import WIDTH, percent, print_columns, safe_line
from medgym.metrics.rate import Rate

from ..evaluating.benchmark import Benchmark
from ..tables import bounds
from .baseline import CHANCE, CONSTANT, PARAGRAPH, PRIOR, baselines

KEY = "baselines"
"""The key in `results.json`, of a benchmark or at the top."""

LONGEST = 40
"""Characters of a constant text that are printed."""


def add_baselines(content: dict[str, Any], benchmarks: Mapping[str, Benchmark]) -> None:
    """Add to the content of `results.json` the baselines of each benchmark."""
    for name, benchmark in benchmarks.items():
        part = content["benchmarks"][name] if "benchmarks" in content else content
        part[KEY] = [each.as_dict() for each in baselines(benchmark.cases)]


def print_baselines(content: Mapping[str, Any]) -> None:
    """Print them, and say where a policy is below the prior."""
    every: Mapping[str, Mapping[str, Any]] = content.get("benchmarks", {"": content})
    parts = {name: part for name, part in every.items() if KEY in part}
    if not parts:
        return
    if "benchmarks" in content:
        _print_suite(parts)
    else:
        _print_one(content[KEY])
    for name, part in parts.items():
        for line in [*_padded(part), *_below(part)]:
            print(safe_line(f"{name}: {line}" if name else line, None))


def _print_one(found: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for row in found:
        rate = Rate(**row["accuracy"])
        name = f"{row['baseline']} {_text(row)}".rstrip()
        rows.append((name, str(rate.n), percent(rate.value), bounds(rate)))
    print_columns(("without looking", "cases", "accuracy", "95 % interval"), rows, WIDTH)


def _print_suite(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    rows = []
    for name, part in benchmarks.items():
        rates = {row["baseline"]: Rate(**row["accuracy"]) for row in part[KEY]}
        line = [name]
        for baseline in (CONSTANT, PRIOR):
            rate = rates.get(baseline)
            line += ["-", "-"] if rate is None else [percent(rate.value), bounds(rate)]
        rows.append((*line, percent(rates[CHANCE].value if CHANCE in rates else None)))
    interval = "95 % interval"
    print_columns(("without looking", CONSTANT, interval, PRIOR, interval, CHANCE), rows, WIDTH)


def _padded(part: Mapping[str, Any]) -> list[str]:
    """What one paragraph gets by the token recall of open cases."""
    return [
        "token recall of one paragraph of common words, for all open cases: "
        f"{percent(row['paragraph_recall']['value'])}"
        for row in part[KEY] if "paragraph_recall" in row
    ]  # fmt: skip


def _text(row: Mapping[str, Any]) -> str:
    text = str(row.get("text", ""))
    if text == PARAGRAPH:
        return "a paragraph"
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...") if text else ""


def _below(part: Mapping[str, Any]) -> list[str]:
    """A line for each policy whose accuracy is below the prior."""
    prior = next((row["accuracy"] for row in part[KEY] if row["baseline"] == PRIOR), None)
    lines = []
    for policy, ways in part["policies"].items():
        for judged in ways.values():
            accuracy = judged["accuracy"]
            if prior is not None and accuracy["n"] and accuracy["value"] < prior["value"]:
                lines.append(
                    f"{policy} is below the prior ({percent(accuracy['value'])} against "
                    f"{percent(prior['value'])}), which sees no image"
                )
    return lines
