"""What `medgym hallucination` prints."""

from collections.abc import Mapping
from typing import Any

from medgym.commands.printing import percent, print_columns, print_table
from medgym.metrics.rate import Rate

from ..model_judge.answers import agreement_rows, usage_rows
from ..tables import bounds, interval

ABOUT = ("phantoms, by rules", "other cases, by the judge")
ONLY_JUDGE = "answers that only a judge can label"


def print_hallucination(head: list[tuple[str, str]], figures: Mapping[str, Any]) -> None:
    """The figures of `hallucination_figures` as tables.

    Args:
        head: what was played, as rows.
    """
    rows = list(head)
    for name in ABOUT:
        if name in figures:
            rows.append((f"MediHall, {name.partition(',')[0]}", _score(figures[name]["MediHall"])))
            for left in ("statements without a level", "nothing said"):
                if left in figures[name]:
                    rows.append((f"  {left}", str(figures[name][left])))
    if figures.get(ONLY_JUDGE):
        rows.append((ONLY_JUDGE, f"{figures[ONLY_JUDGE]}; add --judged-by SPEC"))
    rows += _judge_rows(figures.get("judge"))
    print_table(rows)
    for name in ABOUT:
        if name in figures:
            print()
            print_columns(
                (name, "statements", "share", "95 % interval"),
                [
                    (row["level"], str(row["statements"]), *_share(row["share"]))
                    for row in figures[name]["levels"]
                ],
            )
    if "not there" in figures:
        print()
        print_columns(
            ("asked for what is not there", "cases", "as if there", "95 % interval", "not read"),
            [
                (row["asked for"], *_counted(row["as if there"]), str(row["not read"]))
                for row in figures["not there"]
            ],
        )
    for row in figures.get("not made", ()):
        print(f"no such question of {row['images']:,} images: {row['why']}")
    if figures["contradictions"]:
        print()
        print_columns(
            ("contradiction", "of", "share", "95 % interval"),
            [(row["contradiction"], *_counted(row["share"])) for row in figures["contradictions"]],
        )


def _judge_rows(judge: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if judge is None:
        return []
    rows = [("judge", f"{judge['judge']} ({judge['prompt']})")]
    if judge["agreement"] is None:
        rows.append(("  agrees with rules", "not known: no phantom among the cases"))
    else:
        rows += agreement_rows(judge["agreement"], "  agrees with rules")
    for why, count in judge.get("no label", {}).items():
        rows.append((f"  no label: {why}", str(count)))
    return rows + usage_rows(judge)


def _score(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = figure["low"], figure["high"]
    return f"{figure['value']:.3f} (95 % interval {low:.3f} to {high:.3f}) of {figure['n']}"


def _share(figure: Mapping[str, Any]) -> tuple[str, str]:
    rate = Rate(**figure)
    return percent(rate.value if rate.n else None), bounds(rate)


def _counted(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(figure["n"]), *_share(figure)


def head_of(policy: str, accuracy: Rate, episodes: int) -> list[tuple[str, str]]:
    """What was played, as rows."""
    return [("policy", policy), ("episodes", str(episodes)), ("accuracy", interval(accuracy))]
