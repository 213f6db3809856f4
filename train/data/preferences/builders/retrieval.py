"""Whether a policy relies on retrieved text where it should: the case played with and without it.

As in MMed-RAG (arXiv 2410.13085) and RULE (arXiv 2407.05131): both episodes of a pair have read the
same retrieved text, and differ only in the last reply. The words of one are those that the policy
gave without the tool.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from medgym.trajectory import Node, Trajectory, hash_ids

from ..builder import Group, PairBuilder, PairSource
from ..pair import Pair
from ..stored import StoredGroups


@dataclass(frozen=True)
class _Bare:
    """How an episode without retrieval ended."""

    correct: bool
    answer: str
    reward: float | None
    last: Node
    vision_token_ids: tuple[int, ...]


class _Retrieval(PairBuilder):
    """What the two builders share.

    Args:
        without: the folder of a run of the same cases without the tool.
        tool: the name of the tool that retrieves.
    """

    name: ClassVar[str] = ""

    def __init__(self, *, without: str, tool: str = "retrieve") -> None:
        self._without = without
        self._tool = tool
        self._bare: dict[tuple[str, str], list[_Bare]] = {}

    def begin(self, source: PairSource) -> None:
        """Read how the episodes without retrieval ended; errors as of `StoredGroups`."""
        found: defaultdict[tuple[str, str], list[_Bare]] = defaultdict(list)
        for key, episodes in StoredGroups(Path(self._without)).groups():
            for each in episodes:
                if each.answer is not None and each.malformed == 0 and each.kind != "text":
                    last = each.branch()[_last(each)]
                    found[key.case_id, key.case_hash].append(
                        _Bare(each.correct, each.answer, each.reward, last, each.vision_token_ids)
                    )
        self._bare = dict(found)

    def _of(self, group: Group) -> tuple[list[Trajectory], list[_Bare]]:
        """The episodes that used the tool and answered, and how those without it ended."""
        used = [
            each
            for each in group.episodes
            if self._tool in each.calls and each.answer is not None and each.malformed == 0
        ]
        hashes = {each.case_hash for each in group.episodes}
        bare = [
            each for case_hash in hashes for each in self._bare.get((group.case.id, case_hash), [])
        ]
        return used, bare


class OverReliancePairs(_Retrieval):
    """Pairs of a case that the policy has right by itself and wrong with retrieved text: the answer
    that it gave without the text against the one that it gave with it, both after reading it.
    """

    name: ClassVar[str] = "over-reliance"

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case."""
        used, bare = self._of(group)
        right = [each for each in bare if each.correct]
        if 2 * len(right) < len(bare):  # by itself it has the case wrong
            return
        for rejected, words in zip(
            [each for each in used if not each.correct], right, strict=False
        ):
            yield Pair(
                _with_words(rejected, words),
                rejected,
                self.name,
                "right without retrieved text against wrong with it",
                shared=_last(rejected),
            )


class IgnoreRetrievalPairs(_Retrieval):
    """Pairs of a case that the policy has wrong by itself and right with retrieved text: the answer
    that it gave with the text against the one that it gave without it, both after reading it.
    """

    name: ClassVar[str] = "ignore-retrieval"

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case."""
        used, bare = self._of(group)
        wrong = [each for each in bare if not each.correct]
        if 2 * len(wrong) < len(bare):  # it needs no retrieved text
            return
        right = (each for each in used if each.correct)
        for chosen, words in zip(right, cycle(wrong), strict=False):
            yield Pair(
                chosen,
                _with_words(chosen, words),
                self.name,
                "right with retrieved text against wrong as without it",
                shared=_last(chosen),
            )


def _last(trajectory: Trajectory) -> int:
    """The place of the policy's last reply."""
    path = trajectory.branch()
    return max(i for i, node in enumerate(path) if node.role == "assistant")


def _with_words(trajectory: Trajectory, words: _Bare) -> Trajectory:
    """An episode in which the last reply is another one, as a demonstration."""
    end = _last(trajectory)
    before = [
        replace(node, parent=place - 1, logprobs=())
        for place, node in enumerate(trajectory.branch()[:end])
    ]
    ids = [i for node in before for i in node.token_ids]
    reply = replace(words.last, parent=end - 1, logprobs=(), prompt_hash=hash_ids(ids))
    return replace(
        trajectory,
        kind="demonstration",
        nodes=(*before, reply),
        vision_token_ids=(
            trajectory.vision_token_ids
            if words.vision_token_ids == trajectory.vision_token_ids
            else words.vision_token_ids  # which the build drops, as a pair of two tokenizers
        ),
        answer=words.answer,
        correct=words.correct,
        reward=words.reward,
    )
