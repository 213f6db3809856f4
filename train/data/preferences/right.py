"""The episodes of a case whose words are preferred: those that answered right."""

from collections.abc import Iterable

from medgym.metrics.recorded_tokens import read_nodes
from medgym.trajectory import Trajectory


def right_episodes(episodes: Iterable[Trajectory]) -> list[Trajectory]:
    """Those that answered right without a malformed reply, the best first.

    The best earned most, and then needed fewest replies. Of episodes with the same tokens and the
    same images only one is there.
    """
    found: dict[object, Trajectory] = {}
    for each in episodes:
        if each.correct and not each.malformed and each.kind != "text" and each.failure is None:
            nodes = read_nodes(each)
            images = tuple(use.sha256 for node in nodes for use in node.images)
            found.setdefault((tuple(node.token_ids for node in nodes), images), each)
    return sorted(found.values(), key=lambda t: (-(t.reward or 0.0), t.turns, t.member))
