"""`bench rollout`: our rollouts against TRL's own tool loop.

32 episodes (4 cases in groups of 8) of the model `looker`, which looks three times and then
answers, so that both sides play four turns with four images; the tool is `zoom`, made to last 100
ms or 1 ms longer, as one that asks a server does. Ours is `collect` with the policy `hf:`; the
rival is `GRPOTrainer` with an `environment_factory`. A trajectory per second counts from the cases
to the end of the last episode; ours are also scored and recorded with their token ids and
log-probabilities.
"""

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.models import find_model
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.tool import Tool, ToolResult, load_tools
from medgym.trajectory import Trajectory
from medgym.workspace import Workspace

from .comparison import Comparison, in_turns
from .episode_size import EpisodeSize, mean
from .silence import silence

CASES = "phantom,look=radiograph,question=kind:train"
DELAYS = {100: 3, 1: 7}
"""Milliseconds that a tool lasts, and repetitions of either side."""

MAX_TURNS = 6
MAX_TOKENS = 64


class Slow(Tool):
    """The tool `zoom`, which waits before it shows anything, as one that asks a server does."""

    name = "zoom"

    def __init__(self, seconds: float) -> None:
        (self._zoom,) = load_tools(["zoom"])
        self._seconds = seconds
        vars(self)["Args"] = self._zoom.Args

    @property
    def description(self) -> str:
        """What the policy reads is the same, whatever the delay."""
        return self._zoom.description

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """Wait, then zoom."""
        time.sleep(self._seconds)
        return self._zoom(args, workspace)


def against_trl(
    cases: int = 4, group_size: int = 8, delays: dict[int, int] | None = None
) -> list[Comparison]:
    """Play with a slow and with a fast tool, both sides in turns."""
    rows = []
    some = open_cases(f"{CASES}[:{cases}]")
    with silence():
        model = Path(find_model("looker").path)
        for delay, repetitions in (delays or DELAYS).items():
            rows += _rows(model, some, group_size, delay, repetitions)
    return rows


def _rows(
    model: Path, cases: Sequence[Case], group_size: int, delay: int, repetitions: int
) -> list[Comparison]:
    from .trl_loop import trl_loop

    rules = Rules(tools=(Slow(delay / 1000),), max_turns=MAX_TURNS, view_size=64)
    ours = _Side(load_policy(f"hf:{model}"), cases, rules, group_size)
    rival = trl_loop(model, cases, rules, group_size)
    played: dict[str, list[EpisodeSize]] = {}
    seeds = {"ours": 0, "rival": 0}

    def rate(side: str, play: Any) -> float:
        seeds[side] += 1
        start = time.perf_counter()
        episodes = play(seeds[side])
        seconds = time.perf_counter() - start
        played[side] = played.get(side, []) + episodes
        return len(episodes) / seconds

    ours.play(0)
    rival.play(0)
    what = f"rollouts, tools of {delay} ms"
    first, second = in_turns(
        what, lambda: rate("ours", ours.play), lambda: rate("rival", rival.play), repetitions
    )
    name = f"rollout.tools_{delay}ms"
    loop = f"TRL {version('trl')}: GRPOTrainer, environment_factory"
    rows = [Comparison(name, first, "trajectories/s", loop, second)]
    for figure in ("turns", "sampled", "tokens", "images"):
        means = (mean([getattr(each, figure) for each in played[side]]) for side in seeds)
        rows.append(
            Comparison(f"{name}.{figure}", next(means), "per trajectory", loop, next(means))
        )
    return rows


class _Side:
    """Ours: `collect`, as any caller calls it."""

    def __init__(
        self, policy: Policy, cases: Sequence[Case], rules: Rules, group_size: int
    ) -> None:
        self._policy = policy
        self._cases = cases
        self._rules = rules
        self._group_size = group_size

    def play(self, seed: int) -> list[EpisodeSize]:
        """Play all cases; returns what was played."""
        stream = collect(
            self._cases,
            self._policy,
            self._rules,
            group_size=self._group_size,
            sampling=Sampling(max_tokens=MAX_TOKENS),
            seed=seed,
        )
        return [EpisodeSize.of(_whole(trajectory)) for trajectory in stream]


def _whole(trajectory: Trajectory) -> Trajectory:
    if trajectory.failure is not None:
        raise RunError(f"an episode failed ({trajectory.failure}); fix: remove the cause")
    return trajectory
