"""What TRL's tables of completions say of each episode, beside its words and its rewards.

With `[grpo] log_completions` TRL writes these tables to `completions/` among the checkpoints, and
to W&B and Trackio, where `log_multimodal` adds the views as images.
"""

from collections.abc import Sequence

from medgym.cases import Case
from medgym.trajectory import Trajectory


def columns(played: Sequence[tuple[Case, Trajectory]]) -> dict[str, list[object]]:
    """The further columns of a table, each with one value for each episode."""
    return {
        "case": [case.id for case, _ in played],
        "question": [case.question for case, _ in played],
        "gold": [case.answer for case, _ in played],
        "answer": [trajectory.answer for _, trajectory in played],
        "right": [trajectory.correct for _, trajectory in played],
        "reward": [trajectory.reward for _, trajectory in played],
        "looks": [
            "; ".join(
                f"{look.tool} of image {look.image}: {', '.join(f'{x:.0f}' for x in look.box_px)}"
                for look in trajectory.looks
            )
            for _, trajectory in played
        ],
        "failure": [trajectory.failure for _, trajectory in played],
    }
