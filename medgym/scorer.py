"""What a scorer is: it says whether an answer is right, and how good it is.

There is one scorer for each type of answer. Rubrics and judges both ask `grade`, so a reward and an
accuracy can never disagree about what is right. A scorer is registered in the entry-point group
`medgym.scorers`; the one that is registered under the name of an answer type scores that type.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

from medgym.case import Case
from medgym.errors import RunError, UserError
from medgym.failures import PlugInCall, calling, raised

Verdict = Literal["right", "wrong", "unparsed", "unanswered", "unreadable", "failed"]
"""What became of an answer.

right, wrong: the answer could be read and was compared with the gold.
unparsed: there is an answer that cannot be read as one of its type. It names none of the options,
    or is not a number.
unanswered: the episode ended without an answer.
unreadable: the case itself cannot be read, so that no answer was asked for.
failed: the machinery failed, so that no answer was given.

A scorer gives the first three. `grade` gives `unanswered`. The last two are reserved for
evaluations: neither a scorer nor `grade` gives them."""


@dataclass(frozen=True)
class Grade:
    """What a scorer says of one answer.

    Attributes:
        score: how good the answer is, from 0 to 1; of most types 0 or 1, of a box its overlap.
        verdict: whether it counts as right, and if not, why not.
    """

    score: float
    verdict: Verdict

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score of {self.score} is not between 0 and 1")

    @property
    def right(self) -> bool:
        """Whether the answer counts as right."""
        return self.verdict == "right"


RIGHT = Grade(1.0, "right")
WRONG = Grade(0.0, "wrong")
UNPARSED = Grade(0.0, "unparsed")
UNANSWERED = Grade(0.0, "unanswered")


class Scorer(Protocol):
    """A class without arguments, registered in the entry-point group `medgym.scorers`.

    A scorer keeps no state, uses no chance and is fast: it runs at the end of every episode, in
    training too.

    A scorer of which not every gold can be read may have a method `check(case)`, which raises the
    `UserError` of such a gold: training and `medgym eval` call it before the first episode.

    Attributes:
        version: changes whenever any answer gets another grade; `results.json` holds it.
    """

    version: str

    def __call__(self, case: Case, answer: str) -> Grade:
        """The grade of an answer.

        Args:
            case: the case with its gold: `answer`, `options`, `regions`.
            answer: what the policy wrote between `<answer>` and `</answer>`. It may be any text.

        Raises:
            UserError: the case's gold is not of its type.
        """
        ...


@cache
def load_scorer(name: str) -> Scorer:
    """The scorer that is registered as `name`.

    Raises:
        UserError: there is none, and the nearest one is named; or it has no version.
    """
    from medgym.registry import load

    with calling(f"the scorer {name!r}"):
        scorer: Scorer = load("scorers", name)()
    if not isinstance(getattr(scorer, "version", None), str):
        raise UserError(
            f"the scorer {name!r} has no version; fix: give its class a text as `version`"
        )
    return scorer


def scorer_name(case: Case) -> str:
    """The name of the scorer for a case: its answer type, or `choice` where it offers options."""
    return "choice" if case.options else case.answer_type


def check_gold(case: Case) -> None:
    """Make sure that a case's gold can be read, where its scorer asks for that; costs no episode.

    Raises:
        UserError: the case's gold is not of its type.
    """
    check: Callable[[Case], object] | None = getattr(load_scorer(scorer_name(case)), "check", None)
    if check is not None:
        with calling(f"the scorer {scorer_name(case)!r}"):
            check(case)


def grade(case: Case, answer: str | None) -> Grade:
    """How good an answer to a case is: the one definition of what counts as right.

    Raises:
        UserError: the case's gold is not of its type.
        RunError: the scorer failed, or what it gave is no `Grade`.
    """
    if answer is None:
        return UNANSWERED
    name = scorer_name(case)

    def failed(error: BaseException) -> RunError:
        return RunError(
            f"the scorer {name!r} failed on {case.id}: {raised(error)}; fix: correct the scorer"
        )

    with PlugInCall(failed):
        found: object = load_scorer(name)(case, answer)
    if not isinstance(found, Grade):
        raise RunError(
            f"the scorer {name!r} gave a {type(found).__name__} for {case.id}; fix: have it return "
            "a medgym.Grade"
        )
    return found


def scorer_versions(cases: Iterable[Case]) -> dict[str, str]:
    """The version of each scorer that these cases need, by its name."""
    return {name: load_scorer(name).version for name in sorted({*map(scorer_name, cases)})}
