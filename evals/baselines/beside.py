"""Baselines beside the figures of an evaluation: in `results.json`, and below its table."""

from collections.abc import Mapping
from typing import Any

from medgym.commands.printing import percent, print_columns, safe_line
from medgym.metrics.rate import Rate

from ..evaluating.benchmark import Benchmark
from ..tables import bounds
from .baseline import PARAGRAPH, PRIOR, baselines

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
    parts: Mapping[str, Mapping[str, Any]] = content.get("benchmarks", {"": content})
    rows = []
    for name, part in parts.items():
        for row in part[KEY]:
            rate = Rate(**row["accuracy"])
            title = f"{name} {row['baseline']}".strip()
            rows.append((title, str(rate.n), percent(rate.value), bounds(rate), _text(row)))
    print_columns(("without looking", "cases", "accuracy", "95 % interval", "text"), rows)
    for name, part in parts.items():
        for row in part[KEY]:
            if "paragraph_recall" in row:
                recall = percent(row["paragraph_recall"]["value"])
                print(
                    safe_line(
                        f"{_of(name)}token recall of one paragraph of common words for all open "
                        f"cases: {recall}"
                    )
                )
        for line in _below(part):
            print(safe_line(f"{_of(name)}{line}"))


def _of(name: str) -> str:
    return f"{name}: " if name else ""


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
