"""What a back end of rollouts is: something that attempts one episode, and may fail at it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from medgym.cases import Case
from medgym.memory import image_memory
from medgym.rollout.branching import Resume
from medgym.rollout.image_memory import ImageMemory
from medgym.trajectory import Trajectory


@dataclass(frozen=True)
class Job:
    """One episode to be rolled out: which member of which case's group, and from where on."""

    case: Case
    member: int
    resume: Resume | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What names it in a run's records."""
        return self.case.id, self.member


@dataclass(frozen=True)
class Finished:
    """A finished episode, and the PNG bytes of images that it showed, by content hash.

    `images` is empty where none are kept.
    """

    trajectory: Trajectory
    images: Mapping[str, bytes] = field(default_factory=dict)


class Backend(ABC):
    """Rolls out episodes. It knows nothing of retries, resuming or storing: `collect` does.

    Attributes:
        drifts: turns whose rendering drifted from the tokens before it, where the policy counts
            any; else None.
    """

    drifts: int | None = None

    @cached_property
    def image_memory(self) -> ImageMemory:
        """What the images of all episodes may take at once."""
        return ImageMemory(image_memory())

    @abstractmethod
    async def attempt(self, job: Job) -> Finished:
        """Roll out one episode in a fresh environment.

        Raises:
            Failure: the machinery failed, typed by its boundary.
        """

    async def close(self) -> None:  # noqa: B027 - a back end may hold nothing
        """Give back what it holds."""
