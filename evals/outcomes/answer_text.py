"""The text of an answer, wherever in an episode it stands."""

from itertools import takewhile

from medgym.cases import Case
from medgym.trajectory import Trajectory

from ..reading.marks import marked, plain
from .lenient import lenient_grade

_CALL = "<tool_call>"


def answer_text(case: Case, trajectory: Trajectory) -> str:
    """What stands between `<answer>` and `</answer>`; without it what the answering reply marks as
    its answer, else the whole of it."""
    if trajectory.answer is not None:
        return trajectory.answer
    reply = answering_reply(case, trajectory) or ""
    return next(marked(reply), plain(reply))


def answering_reply(case: Case, trajectory: Trajectory) -> str | None:
    """The reply that is read for its answer where it has another form than medgym's.

    It is the last one. Where that says none, because a model that had answered was asked again for
    the right form, it is the last reply before it that marks an answer which can be read. A reply
    with a call is not gone behind: who looks again takes back what was said before.
    """
    replies = _replies(trajectory)[::-1]
    if not replies or trajectory.answer is not None:
        return replies[0] if replies else None
    since_a_call = list(takewhile(lambda reply: _CALL not in reply, replies))
    before = [reply for reply in since_a_call[1:] if any(marked(reply))]
    if not before or _says(case, replies[0]):
        return replies[0]
    return next((reply for reply in before if _says(case, reply)), replies[0])


def _says(case: Case, reply: str) -> bool:
    return bool(plain(reply)) and lenient_grade(case, reply).verdict != "unparsed"


def last_reply(trajectory: Trajectory) -> str | None:
    """The last thing that the policy said, or the one of its roles that decided."""
    replies = _replies(trajectory)
    return replies[-1] if replies else None


def _replies(trajectory: Trajectory) -> list[str]:
    return [node.text for node in trajectory.branch() if node.role == "assistant"]
