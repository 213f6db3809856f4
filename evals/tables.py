"""Judgements as tables that people read."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from medgym.commands.printing import percent
from medgym.judge import Judgement
from medgym.metrics.rate import Amount, Rate
from medgym.unreadable import unreadable_rows

from .looking.figures import NAMES as LOOKING
from .outcomes.figures import LENIENT
from .outcomes.open_answers import EXACT, F1, RECALL


def rows(judgement: Judgement, rubric: str) -> list[tuple[str, str]]:
    """A judgement, one figure a row; `rubric` is the name of what gives the reward."""
    accuracy = judgement.accuracy
    repeated = judgement.episode_count > judgement.case_count
    return [
        ("policy", judgement.policy),
        ("episodes" if repeated else "cases", str(accuracy.n)),
        *((f"left out: {why}", figure(rate)) for why, rate in judgement.withheld.items()),
        *unreadable_rows(judgement.unreadable, judgement.case_count),
        *failed_rows(judgement),
        ("accuracy", interval(accuracy)),
        *_of_all(judgement),
        ("mean reward", f"{mean(judgement.reward, 3)} ({rubric})"),
        ("answered", percent(judgement.answered)),
        ("looked", percent(judgement.looked)),
        ("hit a gold region", percent(judgement.hit)),
        ("replies", f"{judgement.turns:.2f}"),
        ("tool calls", f"{judgement.calls:.2f}"),
        *([("tokens", f"{judgement.tokens:.0f}")] if judgement.tokens else []),
        *(
            (name, _metric(name, value))
            for name, value in judgement.metrics.items()
            if name not in LOOKING and (name != LENIENT or value != accuracy)
        ),
        *((f"  {answer}", f"{interval(r)} of {r.n}") for answer, r in judgement.by_answer.items()),
    ]


def _metric(name: str, value: Rate | float) -> str:
    if name.startswith(SHARES) and not isinstance(value, Rate):
        return percent(value)
    return figure(value)


SHARES = ("unparsed", "unanswered", "pass@", "majority@")
"""How the names of metrics begin that are shares without an interval."""


def hint(judgement: Judgement) -> str | None:
    """What to do about a policy that hardly ever answers in medgym's form; None where it does."""
    lenient = judgement.metrics.get(LENIENT)
    if judgement.answered >= SELDOM or not isinstance(lenient, Rate):
        return None
    return (
        f"The policy seldom answered in medgym's form (<answer>...</answer>): "
        f"{percent(judgement.answered)} of the episodes. In any form, {percent(lenient.value)} are "
        "right. A policy learns the form by imitation ([sft] of a recipe); medgym play shows what "
        f"it writes.{_native(judgement.policy)}"
    )


def _native(policy: str) -> str:
    """What else to try with a model behind an endpoint that is asked in medgym's text form."""
    if not policy.startswith("openai:") or "tools=native" in policy or "tool_form=" in policy:
        return ""
    return " With ?tools=native in its spec, a model calls tools as its server's protocol has them."


SELDOM = 0.5
"""Below this share of answered episodes the form is named as the likely cause."""


def failed_rows(judgement: Judgement) -> list[tuple[str, str]]:
    """How many episodes failed for good, and why the first one did."""
    if not judgement.failed:
        return []
    episode, why = next(iter(judgement.failed.items()))
    count = f"{len(judgement.failed)} of {judgement.episode_count}"
    return [("left out: failed", count), (f"  {episode}", why)]


def _of_all(judgement: Judgement) -> list[tuple[str, str]]:
    if judgement.accuracy_of_all is None:
        return []
    return [("  of all cases", f"{interval(judgement.accuracy_of_all)}, unreadable ones not right")]


ROLE = ("episodes", "right", "answered", "failed", "replies", "calls", "tokens", "seconds")
"""Headings of `role_rows`, after the role."""


def role_rows(judgement: Judgement) -> list[tuple[str, ...]]:
    """Of a consultation: for each role how many episodes, how well, and what an episode cost."""
    return [
        (
            role, str(r.right.n), percent(r.right.value if r.right.n else None),
            percent(r.answered), str(r.failed), mean(r.turns, 2), mean(r.calls, 2),
            mean(r.tokens, 0), mean(r.seconds, 2),
        )
        for role, r in judgement.roles.items()
    ]  # fmt: skip


def withheld_rows(judgements: Mapping[str, Judgement]) -> list[tuple[str, ...]]:
    """Of a suite: for each benchmark, how often and why cases were left out."""
    found: list[tuple[str, ...]] = []
    for name, judgement in judgements.items():
        found += [(name, why, figure(rate)) for why, rate in judgement.withheld.items()]
        if judgement.unreadable:
            count = f"{len(judgement.unreadable)} of {judgement.case_count}"
            found.append((name, "unreadable", count))
    return found


BENCHMARK = ("cases", "accuracy", "95 % interval", "reward", "answered", "looked", "hit")
"""Headings of `benchmark_rows`, after the benchmark."""


def benchmark_rows(judgements: Mapping[str, Judgement]) -> list[tuple[str, ...]]:
    """Of a suite: one row for each benchmark."""
    return [
        (
            name, str(j.accuracy.n), percent(j.accuracy.value), bounds(j.accuracy),
            mean(j.reward, 3), percent(j.answered), percent(j.looked), percent(j.hit),
        )
        for name, j in judgements.items()
    ]  # fmt: skip


OPEN = ("cases", "exact", "token F1", "95 % interval", "recall (padding lifts)")
"""Headings of `open_rows`, after the benchmark."""


def open_rows(judgements: Mapping[str, Judgement]) -> list[tuple[str, ...]]:
    """Of a suite: what each benchmark's open answers share with their golds, where it has some."""
    found: list[tuple[str, ...]] = []
    for name, judgement in judgements.items():
        exact, f1, recall = (judgement.metrics.get(each) for each in (EXACT, F1, RECALL))
        if isinstance(exact, Rate) and isinstance(f1, Rate) and isinstance(recall, Rate):
            found.append((
                name, str(exact.n), percent(exact.value), percent(f1.value), bounds(f1),
                percent(recall.value),
            ))  # fmt: skip
    return found


def counted_as(judgements: Iterable[Judgement], headings: Sequence[str]) -> tuple[str, ...]:
    """The headings of a table, in which episodes are counted where cases have several."""
    repeated = any(each.episode_count > each.case_count for each in judgements)
    return tuple("episodes" if repeated and name == "cases" else name for name in headings)


def mean(value: float | None, digits: int) -> str:
    """A number with so many decimal places, or a dash where it is not known."""
    return "-" if value is None else f"{value:.{digits}f}"


def figure(value: Rate | float) -> str:
    """A metric of a judge: a share or an amount with its interval and its number of cases, or a
    number."""
    if isinstance(value, Amount):
        ends = f"95 % interval {value.low:.2f} to {value.high:.2f}"
        said = ends if value.high < inf else NO_INTERVAL
        return f"{value.value:.2f} {value.unit} ({said}) of {value.n}"
    return f"{interval(value)} of {value.n}" if isinstance(value, Rate) else f"{value:.4g}"


def interval(rate: Rate) -> str:
    """A share with its interval: `72.5 % (95 % interval 64.0 to 79.6)`."""
    ends = bounds(rate)
    return f"{percent(rate.value)} ({NO_INTERVAL if ends == '-' else f'95 % interval {ends}'})"


NO_INTERVAL = "no interval: nothing says how much groups differ"
"""Said where there is one group, or where all are alike and the figure is no mean."""


def bounds(rate: Rate) -> str:
    """The ends of a share's interval, in percent; a dash where it tells nothing."""
    if rate.low <= 0 and rate.high >= 1:
        return "-"
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"
