"""What a builder of pairs is: it is given the episodes of one case at a time and yields pairs.

Builders are registered in the entry-point group `medgym.pair_builders`, and named by a spec such as
`outcome` or `outcome,margin=0.5`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from medgym.cases import Case
from medgym.episode import Rules
from medgym.local_model import LocalModel
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from .pair import Pair


@dataclass(frozen=True)
class Group:
    """The episodes of one case that pairs are made of, in the order of their members.

    Attributes:
        case: with its gold. It is one that may be learned from.
        episodes: those that did not fail.
    """

    case: Case
    episodes: tuple[Trajectory, ...]


@dataclass(frozen=True)
class PairSource:
    """What builders draw on besides the group itself.

    Attributes:
        cases: all cases that may be learned from.
        image: gives an image that an episode shows, by content hash.
        keep: stores a new image and returns its content hash.
        seed: everything random depends on it, the builder, and the case.
        student: loads the policy of the model that learns, which puts words into its tokens; None
            where the pairs are made of what was sampled alone.
        rules: gives the rules by which the run's episodes were played; None where they are not
            known.
    """

    cases: Sequence[Case]
    image: Callable[[str], Image.Image]
    keep: Callable[[Image.Image], str]
    seed: int = 0
    student: Callable[[], LocalModel] | None = None
    rules: Callable[[], Rules] | None = None

    def rng(self, builder: str, case: Case) -> np.random.Generator:
        """The random generator of a builder for one case, the same in every run."""
        return np.random.default_rng(seed_of(self.seed, builder, case.id))


class PairBuilder(ABC):
    """Makes pairs of one kind.

    Attributes:
        name: under which it is registered.
        needs: what it cannot do without, as errors say it: `groups` (several episodes of a case),
            `regions` (gold regions), `student` (`PairSource.student`).
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def begin(self, source: PairSource) -> None:  # noqa: B027 - most need nothing before
        """Read what is needed before the first group, such as a file.

        Raises:
            UserError: it is missing or wrong.
        """

    @abstractmethod
    def pairs(self, group: Group, source: PairSource) -> Iterable[Pair]:
        """The pairs of one case, best ones first; degenerate ones are dropped by the caller."""
