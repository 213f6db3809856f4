"""What a robustness run found, for `results.json` and as tables."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from medgym.cases import Case
from medgym.commands.printing import percent, print_columns, safe_line
from medgym.metrics.intervals import Interval

from ..outcomes.outcome import CaseOutcome
from .corruption_error import CorruptionError, corruption_errors
from .figures import Marks, PairedCases, VariantFigures, adjusted, compared
from .plan import VariantSet
from .variants import CLEAN, WITHOUT_IMAGES, Variant

WIDTH = 80

Outcomes = Mapping[str, Collection[CaseOutcome]]
"""By benchmark."""


@dataclass(frozen=True)
class SetReport:
    """What the variants of one set did to a policy.

    Attributes:
        of: the set. variants: the figures of each.
        corruptions: of each corruption over its severities.
        reference: the run that BE and rBE are against; empty without one.
    """

    of: VariantSet
    variants: Sequence[VariantFigures]
    corruptions: Sequence[CorruptionError]
    reference: str

    def as_dict(self) -> dict[str, Any]:
        """As `results.json` holds it, under `robustness`."""
        return {
            "against": f"BE and rBE against {self.reference}" if self.reference else
            "the drop from the clean cases; no reference run was named",
            "variants": [each.as_dict() for each in self.variants],
            "corruptions": [each.as_dict() for each in self.corruptions],
        }  # fmt: skip


def report(
    of: VariantSet,
    cases: Mapping[str, Sequence[Case]],
    outcomes: Outcomes,
    *,
    reference: tuple[str, Outcomes] | None = None,
    seed: int = 0,
) -> SetReport:
    """The figures of one set.

    Args:
        cases, outcomes: of its benchmarks.
        reference: the name of a run, and its outcomes.
    """
    first = Variant(CLEAN)
    named = {variant: of.benchmark(variant) for variant in of.variants}
    every = PairedCases.of(outcomes[named[first]])

    def marks(found: Outcomes, variant: Variant) -> Marks:
        return every.marks(variant, found[named[variant]], cases[named[variant]])

    clean = marks(outcomes, first)
    figures: list[VariantFigures] = []
    levels: dict[str, list[Marks]] = {}
    others: dict[str, list[Marks]] = {}
    for variant in of.variants[1:]:
        changed = marks(outcomes, variant)
        found = compared(variant, every, clean, changed, unfit=of.unfit[variant], seed=seed)
        figures += [] if found is None else [found]
        if variant.severity:
            levels.setdefault(variant.name, []).append(changed)
            if reference is not None:
                others.setdefault(variant.name, []).append(marks(reference[1], variant))
    against = None if reference is None else (marks(reference[1], first), others)
    errors = corruption_errors(every.units, clean, levels, against, seed=seed)
    return SetReport(of, adjusted(figures), errors, "" if reference is None else reference[0])


def print_report(found: SetReport) -> None:
    """Print the tables of one set, and what is to be said of them."""
    lines = []
    for each in found.variants:
        gap = each.difference.interval
        low, high = max(gap.low, -1.0), min(gap.high, 1.0)
        lines.append((
            str(each.variant), str(each.accuracy.n), percent(each.accuracy.value),
            f"{100 * gap.value:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}",
            "<0.001" if each.adjusted < 0.001 else f"{each.adjusted:.3f}",
            percent(each.same.value if each.same.n else None),
        ))  # fmt: skip
    title = found.of.name or "variant"
    print_columns(
        (title, "cases", "accuracy", "change", "95 % interval", "p", "same answer"), lines
    )
    print("change: against the same cases clean, in points. p: adjusted over all variants (Holm).")
    if found.corruptions:
        print()
        _print_corruptions(found)
    for line in remarks(found):
        print(fill(safe_line(line, None), WIDTH, subsequent_indent="  "))


def _print_corruptions(found: SetReport) -> None:
    if found.reference:
        rows = [
            (each.name, _ratio(each.be), _range(each.be), _ratio(each.rbe), _range(each.rbe))
            for each in found.corruptions
        ]
        print_columns(("corruption", "BE", "95 % interval", "rBE", "95 % interval"), rows)
        print(safe_line(f"Over severities, against {found.reference}; below 1 is better than it."))
        return
    drops = [
        (each.name, f"{100 * each.drop.value:+.1f}", _range(each.drop, 100))
        for each in found.corruptions
    ]
    print_columns(("corruption", "drop", "95 % interval"), drops)
    print("Over severities, in points from clean; --reference RUN gives BE and rBE.")


def _ratio(interval: Interval | None) -> str:
    return "-" if interval is None or not math.isfinite(interval.value) else f"{interval.value:.2f}"


def _range(interval: Interval | None, times: float = 1.0) -> str:
    if interval is None or not math.isfinite(interval.low):
        return "-"
    digits = 2 if times == 1 else 1
    return f"{times * interval.low:.{digits}f} to {times * interval.high:.{digits}f}"


def remarks(found: SetReport) -> list[str]:
    """What the tables do not say: variants that fit no case or not all, and what they mean."""
    lines = []
    none = [str(v) for v in found.of.unfit if v not in found.of.variants]
    if none:
        lines.append(f"fits no case: {', '.join(_names(none))}")
    some = [str(each.variant) for each in found.variants if each.unfit]
    if some:
        lines.append(f"does not fit all cases: {', '.join(_names(some))}")
    unused = [
        each.variant.name for each in found.variants
        if each.variant.name in WITHOUT_IMAGES and each.difference.outcome == "tie"
    ]  # fmt: skip
    if unused:
        lines.append(
            f"no change could be told by {', '.join(unused)}: nothing shows that the policy uses "
            "what the images say"
        )
    return lines


def _names(variants: Sequence[str]) -> list[str]:
    """Names without severities, each once."""
    return list(dict.fromkeys(Variant.named(each).name for each in variants))
