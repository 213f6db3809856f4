"""The size of an episode: both sides of a comparison must agree on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from medgym.trajectory import Trajectory


@dataclass(frozen=True)
class EpisodeSize:
    """One episode in figures: replies, tokens sampled, tokens in all, images shown."""

    turns: int
    sampled: int
    tokens: int
    images: int

    @classmethod
    def of(cls, trajectory: Trajectory) -> "EpisodeSize":
        """A trajectory of ours, without the environment's last word, which no policy reads."""
        last = max(i for i, node in enumerate(trajectory.nodes) if node.role == "assistant")
        nodes = trajectory.branch(last)
        return cls(
            turns=trajectory.turns,
            sampled=sum(sum(node.loss_mask) for node in nodes),
            tokens=sum(len(node.token_ids) for node in nodes),
            images=sum(len(node.images) for node in nodes),
        )


def mean(values: Sequence[int]) -> float:
    """The mean of some counts."""
    return sum(values) / len(values)
