"""An env worker on Ray: one process that plays many episodes, each as a coroutine.

It is made by Ray from what the driver packed, and made again when it died. It holds no result: an
episode that was played here is the driver's from the moment that it arrives there.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from medgym.cases import Case
from medgym.failures import at
from medgym.imaging.opened import OpenedImage, Sent
from medgym.messages import Message
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Finished, Job
from medgym.rollout.episode_loop import roll_out
from medgym.rollout.image_memory import images_to_send
from medgym.rollout.local import THREADS, encoded
from medgym.rollout.ray.cluster import ray
from medgym.rollout.ray.policy import RemotePolicy
from medgym.rollout.ray.tools import RemoteTool, remember
from medgym.rollout.ray.wire import Home, Packed, Unpacked, sendable

REMEMBERED = 65_536
"""Images of which a worker knows that the driver has them; members of a group show the same ones,
and play at about the same time."""


@dataclass(frozen=True)
class Plan:
    """How a worker plays.

    Attributes:
        rules: tools, rubric, budgets, packed. tools: where those live that have stand-ins there.
        policy: who plays, packed, or where that lives. spec: what it is called.
        sampling, seed: as `collect`'s.
        keeps: whether the images that were shown are wanted.
    """

    rules: Packed
    tools: Mapping[str, Home]
    policy: Packed | Home
    spec: str
    sampling: Sampling | None
    seed: int
    keeps: bool


class EnvWorker:
    """Plays episodes, `slots` at once."""

    def __init__(self, slots: int) -> None:
        self._threads = ThreadPoolExecutor(min(slots, THREADS), "medgym-tools")
        self._arrived: OrderedDict[str, None] = OrderedDict()
        self._rules = Unpacked()
        self._policy = Unpacked()
        self._facts: dict[str, Any] = {}
        self._drifts = 0
        self._is_ready = False

    async def ready(self, plan: Plan) -> int:
        """Make what is needed to play, where its tools and its model are; the process's id."""
        try:
            for tool in (await self._rules.made(plan.rules)).tools:
                if isinstance(tool, RemoteTool):
                    tool.home = plan.tools[tool.name]
                    await tool.home.actor.ready.remote(tool.home.part)
            if isinstance(plan.policy, Home):
                self._facts = await plan.policy.actor.ready.remote(plan.policy.part)
            else:
                policy = await self._policy.made(plan.policy)
                with at("policy"):
                    self._drifts = policy.drifts or 0
        except Exception as error:
            raise sendable(error) from error
        self._is_ready = True
        return os.getpid()

    async def answer(self) -> None:
        """Show that this process is not stuck."""

    async def decode(self, case: Case) -> list[Sent]:
        """A case's images, for the object store."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, images_to_send, case)
        except Exception as error:
            raise sendable(error) from error

    async def play(
        self,
        plan: Plan,
        job: Job,
        lease: int,
        studies: "Sequence[ray.ObjectRef[list[OpenedImage]]]",
        arrived: Sequence[str],
    ) -> tuple[Finished, int]:
        """Play an episode; returns it, and the drifts that the policy counted since the last one.

        Args:
            plan: how. job: which one. lease: under which number.
            studies: where the case's images lie.
            arrived: hashes of images that came from here and that the driver has by now.
        """
        if not self._is_ready:  # it died between two episodes
            await self.ready(plan)
        for sha256 in arrived:
            self._arrived[sha256] = None
        while len(self._arrived) > REMEMBERED:
            self._arrived.popitem(last=False)
        images: dict[str, bytes] = {}

        def finish(messages: Sequence[Message]) -> None:
            images.update(encoded(messages, self._arrived.__contains__))

        try:
            opened = await studies[0]
            remember(opened, studies[0])
            counted = 0
            trajectory = await roll_out(
                job.case,
                self._player(plan, lease),
                self._rules.thing,
                sampling=plan.sampling,
                seed=plan.seed,
                member=job.member,
                resume=job.resume,
                studies=opened,
                threads=self._threads,
                on_messages=finish if plan.keeps else None,
            )
            if self._policy.thing is not None:
                with at("policy"):
                    counted = self._policy.thing.drifts or 0
        except Exception as error:
            raise sendable(error) from error
        drifts, self._drifts = counted - self._drifts, counted
        return Finished(trajectory, images), drifts

    def _player(self, plan: Plan, lease: int) -> Policy:
        if isinstance(plan.policy, Home):
            return RemotePolicy(plan.policy, plan.spec, self._facts, lease)
        policy = self._policy.thing
        assert isinstance(policy, Policy)
        return policy
