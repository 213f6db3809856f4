"""Which of the better episodes of a case meets which of the worse ones."""

from collections.abc import Iterator, Sequence

import numpy as np

from medgym.trajectory import Trajectory


def matched(
    chosen: Sequence[Trajectory],
    rejected: Sequence[Trajectory],
    rng: np.random.Generator,
    *,
    alike: bool = True,
) -> Iterator[tuple[Trajectory, Trajectory]]:
    """Pairs in which each episode comes once, the most alike first.

    Two episodes are alike that looked equally often, and then that wrote about as many tokens: else
    what is learned from the pair is how long to write. Chance decides the rest.

    Args:
        alike: whether likeness counts; else only chance does.
    """
    better = [chosen[i] for i in rng.permutation(len(chosen))]
    worse = [rejected[i] for i in rng.permutation(len(rejected))]
    if not alike:
        yield from zip(better, worse, strict=False)
        return
    looks = [[len(each.looks) for each in side] for side in (better, worse)]
    lengths = [[written(each) for each in side] for side in (better, worse)]
    order = sorted(
        ((i, j) for i in range(len(better)) for j in range(len(worse))),
        key=lambda at: (
            abs(looks[0][at[0]] - looks[1][at[1]]),
            abs(lengths[0][at[0]] - lengths[1][at[1]]),
        ),
    )
    taken: tuple[set[int], set[int]] = (set(), set())
    for i, j in order:
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            yield better[i], worse[j]


def written(trajectory: Trajectory) -> int:
    """How many tokens the policy wrote; of a policy without tokens, characters."""
    own = [node for node in trajectory.nodes if node.role == "assistant"]
    return sum(len(node.token_ids) or len(node.text) for node in own)


def is_readable(trajectory: Trajectory) -> bool:
    """Whether every reply could be read, and there was an answer."""
    return trajectory.malformed == 0 and trajectory.answer is not None
