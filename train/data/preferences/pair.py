"""A pair: two episodes of one case, the first of which a policy is to prefer."""

from dataclasses import dataclass

from medgym.trajectory import Node, Trajectory


@dataclass(frozen=True)
class Pair:
    """Two episodes of one case in the tokens of the model that learns, and why they are a pair.

    An image that is exchanged is exchanged in the rejected episode itself: its node names another
    image of the same size, with as many placeholders. Such an episode was not sampled as it stands,
    so it is a `demonstration`, without log-probabilities.

    Attributes:
        chosen, rejected: the two episodes.
        builder: the name of the builder that made the pair.
        why: in words, as `answers right against answers wrong`.
        score: how relevant the pair is, 0 to 1: from judges or a tool's confidence; 1 where nobody
            was asked.
        shared: how many nodes at the start both have alike and neither is trained on, because the
            episodes were branched there; 0 for two whole episodes.
    """

    chosen: Trajectory
    rejected: Trajectory
    builder: str
    why: str
    score: float = 1.0
    shared: int = 0

    @property
    def case_id(self) -> str:
        """The case of both."""
        return self.chosen.case_id

    @property
    def margin(self) -> float:
        """By how much the chosen earned more; an episode without a reward counts as 0."""
        return (self.chosen.reward or 0.0) - (self.rejected.reward or 0.0)


def fault_of(pair: Pair) -> str | None:
    """Why nothing can be learned from a pair, as it is counted; None where something can.

    Two episodes with the same tokens are a pair only if their images differ.
    """
    chosen, rejected = pair.chosen, pair.rejected
    if chosen.case_id != rejected.case_id or chosen.case_hash != rejected.case_hash:
        return "of two cases"
    if chosen.failure is not None or rejected.failure is not None:
        return "a failed episode"
    if "text" in (chosen.kind, rejected.kind):
        return "without tokens"
    if chosen.vision_token_ids != rejected.vision_token_ids:
        return "of two tokenizers"
    if _read(chosen) == _read(rejected):
        return "identical branches"
    if not (_written(chosen, pair.shared) and _written(rejected, pair.shared)):
        return "nothing to train on"
    return None


def shared_of(chosen: Trajectory, rejected: Trajectory) -> int:
    """How many nodes at the start two episodes share that were branched from one turn; else 0."""
    forks = [each.fork for each in (chosen, rejected) if each.fork is not None]
    for count in sorted((fork.nodes for fork in forks), reverse=True):  # one may be of the other
        alike = [_read_node(node) for node in chosen.branch()[:count]]
        if alike == [_read_node(node) for node in rejected.branch()[:count]]:
            return count
    return 0


def _path(trajectory: Trajectory) -> tuple[Node, ...]:
    """The nodes up to the policy's last one, which is all that is trained on."""
    path = trajectory.branch()
    last = max((i for i, node in enumerate(path) if node.role == "assistant"), default=-1)
    return path[: last + 1]


def _read(trajectory: Trajectory) -> tuple[object, ...]:
    return tuple(map(_read_node, _path(trajectory)))


def _read_node(node: Node) -> tuple[object, ...]:
    return node.token_ids, tuple(use.sha256 for use in node.images)


def _written(trajectory: Trajectory, shared: int) -> bool:
    return any(any(node.loss_mask) for node in _path(trajectory)[shared:])
