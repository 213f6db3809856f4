"""The rollouts of training, one step at a time, by the machinery of `collect`.

Every attempt starts from a fresh environment, and what the machinery fails at is tried again. What
fails for good comes back as a failed trajectory without a reward. No trajectory leaves here that
breaks an invariant, and every image that one shows is held until the next step begins.
"""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from PIL import Image

from medgym.episode import Rules
from medgym.messages import ImagePart, Message
from medgym.metrics.recorded_tokens import ExchangedImages
from medgym.png import png_image
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Backend, Finished, Job
from medgym.rollout.collection import BackendName, Tally, settle
from medgym.rollout.local import LocalBackend
from medgym.rollout.sync import InThread, drive
from medgym.storage.trajectories import ImageStore
from medgym.trajectory import Trajectory, validate

from ..recipe.settings import Keys

if TYPE_CHECKING:
    from medgym.rollout.ray.cluster import Cluster


class GenerationPlace:
    """Counts the generations of a step: a step that accumulates gradients may roll out several.

    Attributes:
        within_step: what tells the seeds of a step's generations apart; nothing for the first.
    """

    def __init__(self) -> None:
        self._step, self._count = -1, 0

    def begin(self, step: int) -> None:
        """A generation of a step begins."""
        self._step, self._count = step, self._count + 1 if step == self._step else 0

    @property
    def within_step(self) -> tuple[object, ...]:
        return ("generation", self._count) if self._count else ()


class StepRollouts:
    """Rolls out the episodes of one training step after another.

    Args:
        sampling: how replies are sampled.
        images: where the images that were shown are kept, if they are to be kept.
        backend, workers, ray_address: as `collect`'s.

    Attributes:
        pictures: the images that this step's episodes showed, by content hash.
        tally: what failed in this step.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        images: ImageStore | None = None,
        backend: BackendName = "local",
        workers: int = 2,
        ray_address: str | None = None,
    ) -> None:
        self._sampling = sampling
        self._images = images
        self._backend = backend
        self._workers = workers
        self._ray_address = ray_address
        self._cluster: Cluster | None = None
        self.begin()

    def begin(self) -> None:
        """A step begins: the last one's images and failures are forgotten."""
        self.pictures: dict[str, Image.Image] = {}
        self.tally = Tally()

    def play(
        self,
        jobs: Sequence[Job],
        policy: Policy,
        rules: Rules,
        *,
        seed: int,
        in_thread: InThread = nullcontext,
    ) -> list[Trajectory]:
        """Roll out episodes, all at once; their trajectories in the order of the jobs.

        Args:
            in_thread: as `drive` takes it.

        Raises:
            InvariantError: a trajectory that must not be trained on.
            ExchangedImages: an image that a worker sent is not the one that it showed.
            UserError, RunError: as the policy raises them.
        """
        trajectories = []
        for rolled in drive(self._settle(jobs, policy, rules, seed), in_thread):
            for sha256, png in rolled.images.items():
                self._keep_png(sha256, png)
            validate(rolled.trajectory)
            trajectories.append(rolled.trajectory)
        return trajectories

    async def _settle(
        self, jobs: Sequence[Job], policy: Policy, rules: Rules, seed: int
    ) -> AsyncGenerator[Finished, None]:
        backend = self._make(policy, rules, seed, len(jobs))
        stream = settle(jobs, backend, policy=policy.spec, seed=seed, tally=self.tally)
        async for rolled in stream:
            yield rolled

    def _make(self, policy: Policy, rules: Rules, seed: int, concurrency: int) -> Backend:
        common: Keys = {
            "sampling": self._sampling,
            "seed": seed,
            "concurrency": concurrency,
        }
        if self._backend == "local":
            return LocalBackend(policy, rules, on_messages=self._keep, **common)
        from medgym.rollout.ray.backend import RayBackend

        if self._cluster is None:  # held from step to step: it starts more slowly than a step plays
            self._cluster = self._join(policy, rules)
        return RayBackend(
            policy,
            rules,
            workers=self._workers,
            address=self._ray_address,
            stored=self.pictures.__contains__,
            **common,
        )

    def _join(self, policy: Policy, rules: Rules) -> "Cluster":
        from medgym.rollout.ray.cluster import join
        from medgym.rollout.ray.tools import is_remote

        tools = sum(tool.resources.get("num_cpus", 1.0) for tool in rules.tools if is_remote(tool))
        cpus = self._workers + int(policy.local_model) + math.ceil(tools)
        return join(self._ray_address, cpus=cpus)

    def close(self) -> None:
        """Leave the Ray cluster, if one was joined."""
        if self._cluster is not None:
            self._cluster.leave()
        self._cluster = None

    def _keep(self, messages: Sequence[Message]) -> None:
        for part in (part for message in messages for part in message.images):
            if part.sha256 not in self.pictures:
                self.pictures[part.sha256] = part.image
                if self._images is not None:
                    self._images.put(part)

    def _keep_png(self, sha256: str, png: bytes) -> None:
        try:
            image = png_image(png, sha256)
        except ValueError as error:
            raise ExchangedImages(f"the image {sha256[:12]}… arrived as another one") from error
        self.pictures[sha256] = image
        if self._images is not None:
            self._images.put(ImagePart(0, image))
