"""Two evaluations on the same cases: the difference, what it is worth, and where they differ."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medgym.errors import UserError
from medgym.metrics.rate import Rate

from .outcomes.outcome import CaseOutcome
from .statistics.groups import Groups
from .statistics.paired import PairedDifference, difference, holm

Pair = tuple[CaseOutcome, CaseOutcome]


@dataclass(frozen=True)
class Compared:
    """How the second of two evaluations did against the first, on one benchmark.

    Attributes:
        benchmark: its name; empty where there is only one.
        first, second: their shares of right answers.
        difference: second less first.
        adjusted: p of the permutation test, adjusted over all benchmarks (Holm).
        left_out: cases that one of them could not read or play.
        unknown: of how many others it is not known whether both showed the same images.
        gained, lost: pairs of episodes that only the second, only the first has right.
        independent: how many independent cases would say as much of the difference.
        counted: what is counted: `cases`, or `episodes` where cases were played several times.
    """

    benchmark: str
    first: Rate
    second: Rate
    difference: PairedDifference
    adjusted: float
    left_out: int
    unknown: int
    gained: tuple[Pair, ...]
    lost: tuple[Pair, ...]
    independent: float
    counted: str = "cases"


def compare(
    first: Sequence[CaseOutcome],
    second: Sequence[CaseOutcome],
    *,
    lenient: bool = False,
    names: tuple[str, str] = ("the first run", "the second run"),
    same_views: bool = True,
    seed: int = 0,
) -> list[Compared]:
    """Compare two evaluations, benchmark by benchmark.

    Args:
        first, second: their outcomes, in any order.
        lenient: whether the lenient reading counts.
        names: what errors call them.
        same_views: whether both show an image alike, see `medgym.evals.protocol.same_views`.

    Raises:
        UserError: they are not of the same cases or images, or were decided by other scorers.
    """
    pairs = paired(first, second, names, same_views)
    by_benchmark: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_benchmark.setdefault(pair[0].benchmark, []).append(pair)
    found = {
        benchmark: _compared(benchmark, each, lenient, same_views, seed)
        for benchmark, each in by_benchmark.items()
    }
    adjusted = holm([each.difference.permutation for each in found.values()])
    return [
        Compared(**(vars(each) | {"adjusted": p}))
        for each, p in zip(found.values(), adjusted, strict=True)
    ]


def paired(
    first: Sequence[CaseOutcome],
    second: Sequence[CaseOutcome],
    names: tuple[str, str],
    same_views: bool = True,
) -> list[Pair]:
    """The episodes of each case, side by side, in the order of their keys.

    Raises:
        UserError: as `compare`.
    """
    one, other = _by_key(first, names[0]), _by_key(second, names[1])
    parts = [sorted({key[0] for key in each}) for each in (one, other)]
    if not set(parts[0]) & set(parts[1]):
        said = [", ".join(each) if any(each) else "no suite" for each in parts]
        raise UserError(
            f"{names[0]} is of {said[0]} and {names[1]} of {said[1]}, which are not the same "
            "benchmarks; fix: evaluate both alike, or of --tools on,off name one, such as RUN:off"
        )
    missing = [key for key in one if key not in other] + [key for key in other if key not in one]
    if missing:
        shared = len(one.keys() & other.keys())
        raise UserError(
            f"{names[0]} has {len(one):,} episodes and {names[1]} {len(other):,}, of which "
            f"{shared:,} are of the same cases; the first that only one has is {missing[0][1]!r}; "
            "fix: evaluate both on the same cases"
        )
    for key, outcome in one.items():
        against = other[key]
        if outcome.case_hash != against.case_hash:
            raise UserError(
                f"the case {outcome.case!r} is not the same in {names[0]} and {names[1]}: its "
                "question, options, gold or images differ; fix: evaluate both on the same cases"
            )
        judged = outcome.is_counted and against.is_counted
        if judged and (outcome.scorer, outcome.version) != (against.scorer, against.version):
            raise UserError(
                f"{outcome.case!r} was judged by {outcome.scorer} {outcome.version} in {names[0]} "
                f"and by {against.scorer} {against.version} in {names[1]}; fix: run medgym score "
                "on both"
            )
    # In their order, not in that in which they ended: it must not change a digit of an interval.
    pairs = [(one[key], other[key]) for key in sorted(one)]
    others = {a.case for a, b in pairs if None not in (a.shown, b.shown) and a.shown != b.shown}
    if same_views and others:
        raise UserError(
            f"{names[0]} and {names[1]} showed other images of {len(others):,} of "
            f"{len({a.case for a, _ in pairs}):,} cases, such as {min(others)!r}: the files were "
            "exchanged, or another version drew them; fix: evaluate both on the same images"
        )
    return pairs


def _by_key(
    outcomes: Sequence[CaseOutcome], name: str
) -> Mapping[tuple[str, str, int], CaseOutcome]:
    if not outcomes:
        raise UserError(f"{name} has judged no case; fix: name one that has")
    found = {outcome.key: outcome for outcome in outcomes}
    if len(found) < len(outcomes):
        twice = next(key for key, n in Counter(each.key for each in outcomes).items() if n > 1)
        raise UserError(f"{name} has two episodes of {twice[1]!r}; fix: score it again")
    return found


def _compared(
    benchmark: str, pairs: Sequence[Pair], lenient: bool, same_views: bool, seed: int
) -> Compared:
    counted = [pair for pair in pairs if pair[0].is_counted and pair[1].is_counted]
    if not counted:
        raise UserError(
            f"no case{f' of {benchmark}' if benchmark else ''} could be played in both; fix: "
            "remove the cause (medgym runs names it) and evaluate again"
        )
    groups = [outcome.unit for outcome, _ in counted]
    right = [tuple(is_right(outcome, lenient) for outcome in pair) for pair in counted]
    gained = [p for p, (a, b) in zip(counted, right, strict=True) if b and not a]
    lost = [p for p, (a, b) in zip(counted, right, strict=True) if a and not b]
    gains = [float(b) - float(a) for a, b in right]
    return Compared(
        benchmark=benchmark,
        first=Rate.of([a for a, _ in right], groups),
        second=Rate.of([b for _, b in right], groups),
        difference=difference(
            [float(a) for a, _ in right], [float(b) for _, b in right], groups, seed=seed
        ),
        adjusted=1.0,
        left_out=len(pairs) - len(counted),
        unknown=sum(not same_views or None in (a.shown, b.shown) for a, b in counted),
        gained=tuple(gained),
        lost=tuple(lost),
        independent=Groups.of([gains], groups).independent(gains),
        counted=counted_in(pair[0] for pair in pairs),
    )


def counted_in(outcomes: Iterable[CaseOutcome]) -> str:
    """What outcomes are called where they are counted: episodes where cases have several."""
    return "episodes" if any(each.member for each in outcomes) else "cases"


def is_right(outcome: CaseOutcome, lenient: bool) -> bool:
    """Whether an outcome counts as right, by the strict or by the lenient rule."""
    return (outcome.lenient_verdict if lenient else outcome.verdict) == "right"


KINDS = ("answer_type", "modality", "body_part", "language", "gold")
"""By what `differing_kinds` counts the cases that differ."""


def differing_kinds(compared: Compared) -> list[tuple[str, str, int, int]]:
    """Of what kind the cases are that only one has right: (kind, value, gained, lost), those that
    differ most first; only kinds of which there are several values."""
    rows = []
    for kind in KINDS:
        gained = Counter(getattr(pair[0], kind) or "" for pair in compared.gained)
        lost = Counter(getattr(pair[0], kind) or "" for pair in compared.lost)
        values = sorted({*gained, *lost}, key=lambda v: (-gained[v] - lost[v], v))
        if len(values) > 1:
            rows += [(kind, value, gained[value], lost[value]) for value in values[:5]]
    return rows
