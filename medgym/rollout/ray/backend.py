"""The back end `ray`: episodes are leased to worker processes, which may die.

An attempt is a lease of one episode to the least loaded worker that lives, until a deadline. A
worker that dies is made again by Ray; its leases fail, and `collect` leases these episodes
out again. A worker with a lease past its deadline hangs: it gets no further ones, and is killed
when its others have ended. Nothing is the driver's before it has arrived there whole, so nothing is
lost with a worker; and since an episode's draws are fixed by seed, case and member, it does not
matter which one plays it, nor how often.

A case's images are decoded once, into the object store, where the members of its group find them;
they are freed with the last member in flight. A worker decodes them, so that this work is spread
over all of them and no pixel passes through the driver; but files of images lie where the driver
is, so of a cluster of several machines it is the driver that reads those.
"""

import asyncio
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from medgym.cases import Case
from medgym.consultation.team import Team
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure, reason_of
from medgym.imaging.study import ImageRef
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Backend, Finished, Job
from medgym.rollout.image_memory import images_to_send
from medgym.rollout.ray.cluster import OBJECT_STORE, check_room, join, ray
from medgym.rollout.ray.policy import PolicyActor, packed_policy
from medgym.rollout.ray.tools import RETRIES, RemoteTool, ToolActor, is_remote
from medgym.rollout.ray.wire import Home, Packed, actor_options, packed, unwrapped
from medgym.rollout.ray.worker import EnvWorker, Plan
from medgym.uris import SCHEME

LEASE = 1800.0
"""Seconds for one episode, beside those that its tools may take. What is too short fails every
episode of a slow model; what is too long only leaves a place empty after a policy that hangs."""

EXPIRIES = 1
"""Deadlines that an episode may miss and be leased out again: it may hang wherever it is played."""

SILENCE = 120.0
"""Seconds after which a worker that answers nothing is killed, beside those of its slowest tool."""

PATIENCE = 900.0
"""Seconds without any living worker after which a run is given up; some clusters start machines."""

LISTEN = 10.0
"""Seconds between two looks at whether a worker answers."""

PULSE = 0.1
"""Seconds between two looks at a worker that is being made again."""

GLANCE = 1.0
"""Seconds between two looks at a cluster of our own, while a worker of it is being made."""

FAREWELL = 30.0
"""Seconds that a model gets to end what it started."""


@dataclass(eq=False)
class _Worker:
    """A worker as the driver sees it: its leases, and the images of its that arrived lately."""

    actor: Any
    lives: bool = False
    hangs: bool = False
    load: int = 0
    arrived: list[str] = field(default_factory=list)


class RayBackend(Backend):
    """Plays on Ray.

    Args:
        policy, rules, sampling, seed: as `collect`'s.
        workers: processes that play.
        address: of a cluster to join; by default one is started here, and stopped at the end.
        concurrency: episodes in flight at once, over all workers.
        stored: whether an image of that hash is stored already; None where none are stored.
        lease: seconds for one episode; by default what its tools may take, and half an hour.
        object_store: bytes of shared memory of a cluster that is started here.

    Raises:
        UserError: no such cluster, too small a one, or policy or rules that cannot be sent to a
            worker.
    """

    def __init__(
        self,
        policy: Policy,
        rules: Rules,
        *,
        workers: int = 2,
        address: str | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        concurrency: int = 64,
        stored: Callable[[str], bool] | None = None,
        lease: float | None = None,
        object_store: int = OBJECT_STORE,
    ) -> None:
        if isinstance(policy, Team) and policy.local_model:
            raise UserError(
                f"{policy.spec or 'the team'} holds models of its own, and a team's are not shared "
                "on Ray; fix: serve them (openai:URL#MODEL), or use the back end local"
            )
        self.drifts = None if policy.drifts is None else 0
        self._stored = stored
        deadlines = [tool.deadline_s or 0.0 for tool in rules.tools]
        self._lease = lease or LEASE + rules.max_turns * max(deadlines, default=0.0)
        self._silence = SILENCE + max(deadlines, default=0.0)
        self._slots = math.ceil(concurrency / workers)
        self._leases = itertools.count()
        self._expired: Counter[tuple[str, int]] = Counter()
        self._workers: list[_Worker] = []
        self._actors: list[Any] = []
        self._model: Any = None
        self._watching: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._fault: Exception | None = None
        self._pixels: WeakValueDictionary[tuple[ImageRef, ...], _Pixels] = WeakValueDictionary()
        needs = _needs(policy, rules)
        cpus = math.ceil(needs["CPU"]) + workers
        self._cluster = join(address, cpus=cpus, object_store=object_store)
        try:
            check_room(needs | {"CPU": needs["CPU"] + 1}, "a worker, the tools and the model")
            tools = self._tool_actors(rules, concurrency)
            self._plan = Plan(
                rules=packed(_remote(rules), "a tool or the rubric"),
                tools=tools,
                policy=self._player(policy, needs, concurrency),
                spec=policy.spec,
                sampling=sampling,
                seed=seed,
                keeps=stored is not None,
            )
            make = ray.remote(EnvWorker).options(
                num_cpus=1, max_restarts=-1, max_concurrency=2 * self._slots + 2
            )
            self._workers = [_Worker(make.remote(self._slots)) for _ in range(workers)]
        except BaseException:
            self._leave()
            raise

    def _tool_actors(self, rules: Rules, concurrency: int) -> dict[str, Home]:
        """An actor for each tool that gets one."""
        homes = {}
        for tool in filter(is_remote, rules.tools):
            make = ray.remote(ToolActor).options(
                **actor_options(tool.resources),
                max_restarts=-1,
                max_task_retries=RETRIES,
                max_concurrency=2 * concurrency + 2,
            )
            homes[tool.name] = Home(make.remote(), packed(tool, f"the tool {tool.name}"))
            self._actors.append(homes[tool.name].actor)
        return homes

    def _player(self, policy: Policy, needs: dict[str, float], concurrency: int) -> Packed | Home:
        """Who plays: the policy, packed, or where its model lives: on a GPU, if one is left."""
        part = packed_policy(policy)
        if not policy.local_model:
            return part
        spare = ray.cluster_resources().get("GPU", 0.0) - needs.get("GPU", 0.0)
        resources = {"num_gpus": min(1.0, spare)} if spare > 0 else {"num_cpus": 1.0}
        make = ray.remote(PolicyActor).options(
            **actor_options(resources), max_restarts=-1, max_concurrency=2 * concurrency + 8
        )
        self._model = make.remote({"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")})
        self._actors.append(self._model)
        return Home(self._model, part)

    async def attempt(self, job: Job) -> Finished:
        """Lease the episode to a worker; see `Backend.attempt`."""
        worker, lease = await self._leased(), next(self._leases)
        pixels = self._pixels_of(job.case, worker)
        arrived, worker.arrived = worker.arrived, []
        if self._model is not None:
            self._model.enter.remote(lease)
        try:
            async with asyncio.timeout(self._lease):
                studies = await pixels.ref()
                playing = worker.actor.play.remote(self._plan, job, lease, [studies], arrived)
                played, drifts = await playing
        except TimeoutError as error:
            self._forget(pixels)
            worker.hangs = True
            self._expired[job.key] += 1
            reason = f"a lease of {self._lease:g} s passed its deadline"
            raise Failure("worker", reason, self._expired[job.key] > EXPIRIES) from error
        except ray.exceptions.RayError as error:
            self._forget(pixels)
            if isinstance(error, ray.exceptions.RayActorError):
                self._lost(worker)
            raise unwrapped(error) from error
        finally:
            if self._model is not None:
                self._model.leave.remote(lease)
            worker.load -= 1
            if worker.hangs and not worker.load:
                ray.kill(worker.actor, no_restart=False)
                self._lost(worker)
            self._changed.set()
        assert isinstance(played, Finished)
        worker.arrived += played.images
        if self.drifts is not None:
            self.drifts += drifts
        if self._stored is None:
            return played
        fresh = {s: png for s, png in played.images.items() if not self._stored(s)}
        return Finished(played.trajectory, fresh)

    def _pixels_of(self, case: Case, worker: _Worker) -> "_Pixels":
        pixels = self._pixels.get(case.images)
        if pixels is None:
            files = any(ref.uri.startswith(SCHEME) for ref in case.images)
            here = files and not self._cluster.is_own
            pixels = self._pixels[case.images] = _Pixels(case, None if here else worker.actor)
        return pixels

    def _forget(self, pixels: "_Pixels") -> None:
        """A case that is attempted again decodes its images again."""
        if self._pixels.get(pixels.case.images) is pixels:
            del self._pixels[pixels.case.images]

    async def _leased(self) -> _Worker:
        """A worker with a free place; waits for one."""
        if not self._watching:
            for worker in self._workers:
                self._watch(worker)
                self._watching.add(asyncio.create_task(self._listen(worker)))
        while True:
            able = [w for w in self._workers if w.lives and not w.hangs and w.load < self._slots]
            if able:
                worker = min(able, key=lambda w: w.load)
                worker.load += 1
                return worker
            if self._fault is not None and not any(w.lives for w in self._workers):
                raise self._fault
            self._changed.clear()
            await self._changed.wait()

    def _lost(self, worker: _Worker) -> None:
        if worker.lives:
            worker.lives = False
            self._watch(worker)

    def _watch(self, worker: _Worker) -> None:
        self._watching.add(asyncio.create_task(self._revived(worker)))

    async def _revived(self, worker: _Worker) -> None:
        """Wait until a worker is there (again); without any for long, the run is given up."""
        while not worker.lives:
            try:
                async with asyncio.timeout(PATIENCE):
                    while not await self._is_ready(worker):
                        await asyncio.sleep(PULSE)
                worker.lives, worker.hangs = True, False
            except TimeoutError:
                self._fault = RunError(
                    f"no Ray worker came up in {PATIENCE:g} s; fix: look at the cluster (ray "
                    "status), then run the same command again to resume"
                )
            except (UserError, RunError) as error:
                self._fault = error
                return
            finally:
                self._changed.set()

    async def _listen(self, worker: _Worker) -> None:
        """Kill a worker that answers nothing: what a tool calls can stop its whole process."""
        while True:
            await asyncio.sleep(LISTEN)
            try:
                async with asyncio.timeout(self._silence):
                    await worker.actor.answer.remote()
            except TimeoutError:
                if worker.lives:
                    ray.kill(worker.actor, no_restart=False)
                    self._lost(worker)
            except ray.exceptions.RayError:  # its leases fail too
                continue

    async def _is_ready(self, worker: _Worker) -> bool:
        """Whether a worker can play; raises what no waiting will fix."""
        ready = asyncio.wrap_future(worker.actor.ready.remote(self._plan).future())
        try:
            while not ready.done():
                await asyncio.wait({ready}, timeout=GLANCE)
                self._cluster.check()
            ready.result()
        except ray.exceptions.ActorDiedError as error:
            if "creation task" not in str(error):
                raise RunError(
                    f"a Ray worker is gone for good ({reason_of(error)}); fix: look at the cluster "
                    "(ray status), then run the same command again to resume"
                ) from error
            raise UserError(
                f"a Ray worker cannot start ({reason_of(error)}); fix: install medgym on every "
                "node, and what the policy and the tools need"
            ) from error
        except ray.exceptions.RayError as error:
            cause = unwrapped(error)
            if not isinstance(cause, Failure):
                raise cause from error
            return False  # it is being made again, or something that it needs is
        finally:
            ready.cancel()
        return True

    async def close(self) -> None:
        """Stop all actors, and the cluster if it was started here."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._model is not None and ray.is_initialized():
            with suppress(TimeoutError, ray.exceptions.RayError):
                async with asyncio.timeout(FAREWELL):
                    await self._model.close.remote()
        self._leave()

    def _leave(self) -> None:
        if ray.is_initialized():  # at the interpreter's end, Ray has ended itself already
            for actor in (*(worker.actor for worker in self._workers), *self._actors):
                ray.kill(actor)
        self._workers, self._actors, self._model = [], [], None
        self._cluster.leave()


class _Pixels:
    """A case's images in the object store, decoded once, by a worker or (without one) here."""

    def __init__(self, case: Case, actor: Any) -> None:
        self.case = case
        self._actor = actor
        self._ref: Any = None
        self._task: asyncio.Future[Any] | None = None

    async def ref(self) -> Any:
        """The reference; of a worker's, what it leads to may not be there yet."""
        if self._actor is not None:
            if self._ref is None:
                self._ref = self._actor.decode.remote(self.case)
            return self._ref
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.run_in_executor(None, lambda: ray.put(images_to_send(self.case)))
        return await asyncio.shield(self._task)


def _remote(rules: Rules) -> Rules:
    """The same rules, with stand-ins for the tools that get an actor."""
    tools = (RemoteTool(tool) if is_remote(tool) else tool for tool in rules.tools)
    return replace(rules, tools=tuple(tools))


def _needs(policy: Policy, rules: Rules) -> dict[str, float]:
    """What the tools and the model ask for, by Ray's names."""
    asked = [dict(tool.resources) or {"num_cpus": 1.0} for tool in rules.tools if is_remote(tool)]
    asked += [{"num_cpus": float(policy.local_model)}]
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    needs: dict[str, float] = {}
    for each in asked:
        for name, amount in each.items():
            name = names.get(name, name)
            needs[name] = needs.get(name, 0.0) + amount
    return needs
