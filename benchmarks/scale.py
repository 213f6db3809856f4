"""`bench scale`: many episodes at once, in one process and on two Ray workers.

2,000 episodes are in flight against a policy that answers after a second, as a server does: three
zooms, then an answer. The rival is a bound that nothing can beat: four seconds of waiting, or all
those zooms done bare, one after the other, whichever is longer. Below 1.25, waiting and tools
overlap and the episodes themselves cost little.

On Ray, two workers play episodes whose tool computes, against one worker of the same cluster; the
rival is that one. Their start is not measured.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.tool import load_tools

from .comparison import Comparison, in_turns
from .pictures import noise_cases
from .ray_workers import ray_workers

EPISODES = 2000
TURNS = 4
CASES = 20
"""Images among which the episodes are shared, as groups share them."""

SIDE, VIEW_SIZE = 512, 64
WAIT = 1.0
"""Seconds after which the policy answers."""

SPAN = 350
"""Thousandths of a side of what is zoomed into, wherever that is."""


def scale(repetitions: int = 3) -> list[Comparison]:
    """Measure both."""
    with TemporaryDirectory() as folder:
        rows = in_flight(Path(folder), repetitions=repetitions)
    try:
        rows += ray_workers()
    except UserError as error:  # Ray is an extra
        print(f"scale.ray_two_workers is left out: {error}", file=sys.stderr)
    return rows


def in_flight(
    folder: Path, episodes: int = EPISODES, wait: float = WAIT, repetitions: int = 3
) -> list[Comparison]:
    """Wall time of all episodes in flight at once, against the bound."""
    cases = noise_cases(folder, min(CASES, episodes), SIDE)
    rules = Rules(tools=load_tools(["zoom"]), max_turns=TURNS, view_size=VIEW_SIZE)
    group = episodes // len(cases)
    ours, bound = in_turns(
        f"{episodes} episodes in flight",
        lambda: _played(cases, group, rules, wait),
        lambda: max(TURNS * wait, _bare(cases, group, rules)),
        repetitions,
    )
    rival = "the greater of latency (4 x 1 s) and bare tools"
    return [Comparison(f"scale.in_flight_{episodes}", ours, "s", rival, bound)]


class _Server(Policy):
    """Answers after a while, as a server does that has room for all."""

    spec = "a server"

    def __init__(self, wait: float) -> None:
        self._wait = wait

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        await asyncio.sleep(self._wait)
        said = sum(message.role == "assistant" for message in conversation)
        if said == TURNS - 1:
            return Reply(render_answer("A"))
        return Reply(render_call("zoom", {"view": 0, "box": _box(sampling.seed)}))


def _box(seed: int) -> list[int]:
    """Somewhere; no two episodes look at quite the same place."""
    x, y = seed % (1000 - SPAN), seed // 1000 % (1000 - SPAN)
    return [x, y, x + SPAN, y + SPAN]


def _played(cases: Sequence[Case], group: int, rules: Rules, wait: float) -> float:
    """Seconds in which all episodes are played."""
    start = time.perf_counter()
    stream = collect(cases, _Server(wait), rules, group_size=group, concurrency=group * len(cases))
    turns = [trajectory.turns for trajectory in stream]
    seconds = time.perf_counter() - start
    assert turns == [TURNS] * (group * len(cases))
    return seconds


def _bare(cases: Sequence[Case], group: int, rules: Rules) -> float:
    """Seconds that their tool calls take by themselves: the calls, and drawing what they show."""
    (tool,) = rules.tools
    workspaces = [rules.begin(case).workspace for case in cases]
    start = time.perf_counter()
    for workspace in workspaces:
        for number in range(group * (TURNS - 1)):
            call = {"view": 0, "box": _box(seed_of(number))}
            (view,) = tool(tool.parse(call), workspace).views
            view.picture.load()
    return time.perf_counter() - start
