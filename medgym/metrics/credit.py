"""What a turn was worth: the value of a state by Monte Carlo over the episodes that went through.

Episodes of one case that share their beginning are a tree: every state (what the policy has read so
far) is there once, and every reply leads from one to the next. The value of a state is the mean
reward of what was played from it, and a turn's advantage is the value after it less the value
before it (VinePPO, arXiv 2410.01679, without a discount). So the advantages of an
episode's turns add up to its reward less the value of the question.

A state's value counts each reply that was drawn in it once, at the value of where that reply led
to. An episode that was branched off further down (`Trajectory.fork`) drew nothing above its fork,
so it makes the values above it more exact and gives none of them more weight. Without forks this
is the mean over all leaves below.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from medgym.trajectory import Node, Trajectory


@dataclass(frozen=True)
class TurnCredit:
    """One reply in a tree, and what it was worth.

    Attributes:
        turn: its number in its episodes, counted from 1.
        text: the reply.
        episodes: how many went through it.
        before, after: the values of the states before and after it; None where no episode below
            has a reward.
    """

    turn: int
    text: str
    episodes: int
    before: float | None
    after: float | None

    @property
    def advantage(self) -> float | None:
        """The value after it less the value before it."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


class Tree:
    """The episodes of one case as a graph that has each shared node once.

    Nodes are the same where the nodes before them are and they hold the same: of the policy the
    same tokens (without tokens, the same text), of the environment the same text and images.

    Attributes:
        nodes: each node of all episodes once, parents first. A node's `parent` is an index in here.
        paths: of each episode, the indices of its nodes, in order; empty where it has none.
        rewards: of each episode; None where it is not counted.

    Args:
        trajectories: of one case.
        counted: which of them have a reward that counts; by default all that have one.
    """

    def __init__(
        self, trajectories: Iterable[Trajectory], counted: Iterable[bool] | None = None
    ) -> None:
        episodes = list(trajectories)
        counts = [True] * len(episodes) if counted is None else list(counted)
        self.rewards = [
            episode.reward if counts_here else None
            for episode, counts_here in zip(episodes, counts, strict=True)
        ]
        self.nodes: list[Node] = []
        self.paths: list[tuple[int, ...]] = []
        self._children: list[list[int]] = []
        self._through: list[list[int]] = []
        self._drawn: list[Counter[int]] = []
        self._roots: list[int] = []
        known: dict[Hashable, int] = {}
        for number, episode in enumerate(episodes):
            path: list[int] = []
            for node in episode.branch():
                parent = path[-1] if path else -1
                key = (parent, *_content(node))
                if key not in known:
                    known[key] = self._add(node, parent)
                path.append(known[key])
            self.paths.append(tuple(path))
            first = episode.fork.nodes if episode.fork is not None else 1
            for place, index in enumerate(path):
                self._through[index].append(number)
                if place >= first and self.rewards[number] is not None:
                    self._drawn[path[place - 1]][index] += 1

    def _add(self, node: Node, parent: int) -> int:
        index = len(self.nodes)
        self.nodes.append(replace(node, parent=parent))
        self._children.append([])
        self._through.append([])
        self._drawn.append(Counter())
        (self._roots if parent < 0 else self._children[parent]).append(index)
        return index

    @cached_property
    def values(self) -> tuple[float | None, ...]:
        """The value of each node: of the policy's, that of the state which it led to."""
        values: list[float | None] = [None] * len(self.nodes)
        ends: dict[int, list[float]] = {}
        for path, reward in zip(self.paths, self.rewards, strict=True):
            if path and reward is not None:
                ends.setdefault(path[-1], []).append(reward)
        for index in reversed(range(len(self.nodes))):  # children come after their parents
            weighed = [(1, reward) for reward in ends.get(index, ())]
            drawn = self._drawn[index]
            for child in self._children[index]:
                value = values[child]
                # Where nothing but branches from further down is known, each of these counts.
                weight = drawn[child] if drawn else self._counted(child)
                if value is not None and weight:
                    weighed.append((weight, value))
            total = sum(weight for weight, _ in weighed)
            if total:
                values[index] = sum(weight * value for weight, value in weighed) / total
        return tuple(values)

    def _counted(self, index: int) -> int:
        return sum(self.rewards[number] is not None for number in self._through[index])

    @property
    def root_value(self) -> float | None:
        """The value of the question."""
        return self.values[self._roots[0]] if self._roots else None

    def turns(self, episode: int) -> list[TurnCredit]:
        """What each turn of an episode was worth, by the number of the episode."""
        return [self._credit(index) for index in self.paths[episode] if self._is_reply(index)]

    def table(self) -> list[TurnCredit]:
        """Every reply of the tree once, in the order of the turns."""
        rows = [self._credit(index) for index in range(len(self.nodes)) if self._is_reply(index)]
        return sorted(rows, key=lambda row: row.turn)

    def _is_reply(self, index: int) -> bool:
        return self.nodes[index].role == "assistant"

    def _credit(self, index: int) -> TurnCredit:
        turn, above = 1, self.nodes[index].parent
        while above >= 0:
            turn += self._is_reply(above)
            above = self.nodes[above].parent
        parent = self.nodes[index].parent
        before = self.values[parent] if parent >= 0 else None
        text, count = self.nodes[index].text, len(self._through[index])
        return TurnCredit(turn, text, count, before, self.values[index])

    def states(self) -> list[tuple[int, int]]:
        """The states after a turn from which an episode went on: each as the number of the first
        such episode and that of the turn."""
        found: dict[int, tuple[int, int]] = {}
        for number, path in enumerate(self.paths):
            for place in range(2, len(path) - 1, 2):
                found.setdefault(path[place], (number, place // 2))
        return list(found.values())


def trees(trajectories: Iterable[Trajectory]) -> dict[str, Tree]:
    """The episodes of several cases as a tree each, by case id; failed ones and consultations are
    left out."""
    of: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        if trajectory.failure is None and not trajectory.branches:
            of.setdefault(trajectory.case_id, []).append(trajectory)
    return {case_id: Tree(episodes) for case_id, episodes in of.items()}


def _content(node: Node) -> tuple[Hashable, ...]:
    """What makes a node another one. Of the environment's, tokens follow from text and images, and
    a last word that no policy read has none."""
    if node.role == "assistant":
        return (node.role, node.token_ids or node.text)
    return (node.role, node.text, tuple(use.sha256 for use in node.images))


def rows(trajectories: Sequence[Trajectory]) -> list[tuple[str, TurnCredit]]:
    """The table of several cases: case id and reply, case by case."""
    return [(case_id, row) for case_id, tree in trees(trajectories).items() for row in tree.table()]
