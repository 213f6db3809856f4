"""Two evaluations on the same cases: the difference, what it is worth, and where they differ."""

from array import array
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, pairwise
from operator import attrgetter, itemgetter

from medgym.errors import UserError
from medgym.metrics.groups import Groups
from medgym.metrics.rate import Rate

from .outcomes.columns import NumberColumns
from .outcomes.outcome import CaseOutcome
from .outcomes.packed import PackedRows, in_order
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
    gained: Collection[Pair]
    lost: Collection[Pair]
    independent: float
    counted: str = "cases"


def compare(
    first: Collection[CaseOutcome],
    second: Collection[CaseOutcome],
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
    pairs = paired(first, second, names, same_views, lenient=lenient)
    found = {
        benchmark: _compared(benchmark, each, lenient, same_views, seed)
        for benchmark, each in groupby(pairs, key=lambda pair: pair[0].benchmark)
    }
    adjusted = holm([each.difference.permutation for each in found.values()])
    return [
        Compared(**(vars(each) | {"adjusted": p}))
        for each, p in zip(found.values(), adjusted, strict=True)
    ]


def paired(
    first: Collection[CaseOutcome],
    second: Collection[CaseOutcome],
    names: tuple[str, str],
    same_views: bool = True,
    *,
    lenient: bool = False,
) -> Iterator[Pair]:
    """The episodes of each case, side by side, in the order of their keys: not in that in which
    they ended, which must not change a digit of an interval.

    Raises:
        UserError: as `compare`.
    """
    _require_same(first, second, names)
    ordered = (in_order(each, key=attrgetter("key")) for each in (first, second))
    others, cases = set[str](), array("q")
    for outcome, against in zip(*ordered, strict=True):
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
        readings = {outcome.reading, against.reading}
        if judged and lenient and (len(readings) > 1 or None in readings):
            raise UserError(
                f"it is not known that one version has read {outcome.case!r} leniently in "
                f"{names[0]} and {names[1]}; fix: run medgym score on both"
            )
        cases.append(hash(outcome.case))
        if None not in (outcome.shown, against.shown) and outcome.shown != against.shown:
            others.add(outcome.case)
        yield outcome, against
    if same_views and others:
        raise UserError(
            f"{names[0]} and {names[1]} showed other images of {len(others):,} of "
            f"{len({*cases}):,} cases, such as {min(others)!r}: the files were exchanged, or "
            "another version drew them; fix: evaluate both on the same images"
        )


Key = tuple[str, str, int]


def _require_same(
    first: Collection[CaseOutcome], second: Collection[CaseOutcome], names: tuple[str, str]
) -> None:
    """Hold that two evaluations have the same episodes."""
    for outcomes, name in zip((first, second), names, strict=True):
        if not outcomes:
            raise UserError(f"{name} has judged no case; fix: name one that has")
        for (key, _), (other, _) in pairwise(_keys_of(outcomes, 0)):
            if key == other:
                raise UserError(f"{name} has two episodes of {key[1]!r}; fix: score it again")
    parts = [sorted({each.benchmark for each in outcomes}) for outcomes in (first, second)]
    if not set(parts[0]) & set(parts[1]):
        said = [", ".join(each) if any(each) else "no suite" for each in parts]
        raise UserError(
            f"{names[0]} is of {said[0]} and {names[1]} of {said[1]}, which are not the same "
            "benchmarks; fix: evaluate both alike, or of --tools on,off name one, such as RUN:off"
        )
    shared = 0
    alone: dict[int, Key] = {}  # the first one that only the first, only the second has
    both = merge(_keys_of(first, 0), _keys_of(second, 1))
    for key, sides in groupby(both, key=itemgetter(0)):
        has = [side for _, side in sides]
        if len(has) == 2:
            shared += 1
        else:
            alone.setdefault(has[0], key)
    if alone:
        raise UserError(
            f"{names[0]} has {len(first):,} episodes and {names[1]} {len(second):,}, of which "
            f"{shared:,} are of the same cases; the first that only one has is "
            f"{alone[min(alone)][1]!r}; fix: evaluate both on the same cases"
        )


def _keys_of(outcomes: Iterable[CaseOutcome], side: int) -> Iterator[tuple[Key, int]]:
    """Their keys, in order, each with the number of the run that they are of."""
    return in_order((each.key, side) for each in outcomes)


def _compared(
    benchmark: str, pairs: Iterable[Pair], lenient: bool, same_views: bool, seed: int
) -> Compared:
    gained, lost = PackedRows[Pair](), PackedRows[Pair]()
    left_out = unknown = 0
    called = "cases"

    def rows() -> Iterator[tuple[Hashable, bool, bool]]:
        nonlocal left_out, unknown, called
        for pair in pairs:
            called = "episodes" if pair[0].member else called
            if not (pair[0].is_counted and pair[1].is_counted):
                left_out += 1
                continue
            unknown += not same_views or None in (pair[0].shown, pair[1].shown)
            a, b = (is_right(outcome, lenient) for outcome in pair)
            if a != b:
                (gained if b else lost).add(pair)
            yield pair[0].unit, a, b

    counted = NumberColumns(rows(), 2)
    groups = counted.groups()
    if not groups:
        raise UserError(
            f"no case{f' of {benchmark}' if benchmark else ''} could be played in both; fix: "
            "remove the cause (medgym runs names it) and evaluate again"
        )
    one, other = counted.values
    gains = (other - one).tolist()
    return Compared(
        benchmark=benchmark,
        first=Rate.of((one == 1).tolist(), groups),
        second=Rate.of((other == 1).tolist(), groups),
        difference=difference(one.tolist(), other.tolist(), groups, seed=seed),
        adjusted=1.0,
        left_out=left_out,
        unknown=unknown,
        gained=gained,
        lost=lost,
        independent=Groups.of([gains], groups).independent(gains),
        counted=called,
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
