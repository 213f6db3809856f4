"""Episodes whose tool computes, on two Ray workers against one."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from medgym.cases import Case
from medgym.episode import Rules
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

from .comparison import Comparison, in_turns
from .pictures import noise_cases

EPISODES = 96
SECONDS = 0.05
"""Of computing, in each call."""

LOOKS = 3
SIDE = 512
IN_FLIGHT = 2
"""Episodes of each worker at once: one computes while another one's reply travels."""


class Compute(Tool):
    """Computes for a while."""

    name = "compute"

    class Args(ToolArgs):
        pass

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """Keep a core busy; CPU time counts, so that a busy machine makes no call shorter."""
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        return ToolResult("done")


class Caller(Policy):
    """Calls `LOOKS` times, then answers."""

    spec = "a caller"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        said = sum(message.role == "assistant" for message in conversation)
        return Reply(render_answer("A") if said == LOOKS else render_call("compute", {}))


def ray_workers(
    episodes: int = EPISODES, seconds: float = SECONDS, repetitions: int = 3
) -> list[Comparison]:
    """Episodes a second on two workers, and on one."""
    from medgym.rollout.ray.cluster import join

    rules = Rules(tools=(Compute(seconds),), max_turns=LOOKS + 1)
    with TemporaryDirectory() as folder:
        cases = noise_cases(Path(folder), 4, SIDE)
        cluster = join(None, cpus=3)  # all collections play on this one
        try:
            two, one = in_turns(
                "Ray, two workers and one",
                lambda: _rate(cases, rules, episodes, 2),
                lambda: _rate(cases, rules, episodes, 1),
                repetitions,
            )
        finally:
            cluster.leave()
    return [Comparison("scale.ray_two_workers", two, "episodes/s", "one worker", one)]


def _rate(cases: Sequence[Case], rules: Rules, episodes: int, workers: int) -> float:
    """Episodes a second from the first one that arrives to the last."""
    stream = collect(
        cases,
        Caller(),
        rules,
        group_size=episodes // len(cases),
        backend="ray",
        workers=workers,
        concurrency=IN_FLIGHT * workers,
    )
    arrived = []
    for trajectory in stream:
        assert trajectory.turns == LOOKS + 1
        arrived.append(time.perf_counter())
    return (len(arrived) - 1) / (arrived[-1] - arrived[0])
