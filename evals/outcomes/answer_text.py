"""The text of an answer, wherever in a reply it stands."""

from medgym.trajectory import Trajectory

from ..reading.marks import marked, plain


def answer_text(trajectory: Trajectory) -> str:
    """What stands between `<answer>` and `</answer>`; without it what the last reply marks as its
    answer, else the whole of it."""
    if trajectory.answer is not None:
        return trajectory.answer
    reply = last_reply(trajectory) or ""
    return next(marked(reply), plain(reply))


def last_reply(trajectory: Trajectory) -> str | None:
    """The last thing that the policy said, or the one of its roles that decided."""
    replies = [node.text for node in trajectory.branch() if node.role == "assistant"]
    return replies[-1] if replies else None
