"""`bench memory`: what trajectories of many large views take, beside holding the views.

32 episodes of ten turns are played at once; every turn shows a new view of 1024 x 1024 pixels, and
the policy looks at it. What is measured is the greatest resident memory while they are played and
all of their trajectories are held, above what there was once the originals had been decoded. The
rival plays the same and holds each view as an array, as rollouts do that keep their observations.
Each runs in a process of its own.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from medgym.cases import Case, open_cases, write_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.imaging.study import open_image
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out
from medgym.tool import load_tools

from .comparison import Comparison, in_turns
from .pictures import noise_cases
from .studies.resident import CLEAR, MEGABYTE, mark, resident

TRAJECTORIES, TURNS, CASES = 32, 10, 4
ORIGINAL, VIEW = 2048, 1024
"""Pixels of a side."""

RIVAL = "every view held as an array"


def memory(
    trajectories: int = TRAJECTORIES, turns: int = TURNS, original: int = ORIGINAL, view: int = VIEW
) -> list[Comparison]:
    """Measure both, each in a fresh process."""
    if not CLEAR.exists():
        raise UserError("bench memory reads /proc, as Linux has it; fix: run it there")
    with TemporaryDirectory() as folder:
        cases = Path(folder) / "cases.jsonl"
        write_cases(noise_cases(Path(folder), CASES, original), cases)

        def measured(side: str) -> float:
            sizes = map(str, (trajectories, turns, view))
            words = [sys.executable, "-m", __name__, side, str(cases), *sizes]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise RunError(
                    f"the process that was measured failed ({last}); fix: run it by itself"
                )
            return float(json.loads(done.stdout))

        ours, held = in_turns("memory", lambda: measured("ours"), lambda: measured("naive"), 1)
    return [Comparison(f"memory.{trajectories}x{turns}_views", ours, "MB", RIVAL, held)]


class _Looker(Policy):
    """Looks somewhere else at each turn, at last answers; touches the pixels of what is new."""

    spec = "a looker"

    def __init__(self, turns: int, *, holds: bool) -> None:
        self._turns = turns
        self.held: list[np.ndarray] | None = [] if holds else None

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        await asyncio.sleep(0)
        for part in conversation[-1].images:
            pixels = np.asarray(part.image)
            assert pixels.any()
            if self.held is not None:
                self.held.append(pixels)
        said = sum(message.role == "assistant" for message in conversation)
        if said == self._turns - 1:
            return Reply(render_answer("A"))
        x, y = sampling.seed % 500, sampling.seed // 500 % 500
        return Reply(render_call("zoom", {"view": 0, "box": [x, y, x + 500, y + 500]}))


async def _play(
    cases: Sequence[Case], policy: Policy, rules: Rules, trajectories: int
) -> tuple[int, object]:
    """Play all at once; returns how many bytes the process grew at most, and what was kept."""
    studies = {case.id: [open_image(ref) for ref in case.images] for case in cases}
    before = mark()
    threads = ThreadPoolExecutor(trajectories)  # as `collect` has them
    jobs = [
        roll_out(case, policy, rules, member=member, studies=studies[case.id], threads=threads)
        for case in cases
        for member in range(trajectories // len(cases))
    ]
    kept = await asyncio.gather(*jobs)
    return resident("VmHWM") - before, kept


def main() -> None:
    """In the process that is measured: `SIDE CASES TRAJECTORIES TURNS VIEW`."""
    side, cases, *rest = sys.argv[1:]
    trajectories, turns, view = map(int, rest)
    rules = Rules(tools=load_tools(["zoom"]), max_turns=turns, view_size=view)
    policy = _Looker(turns, holds=side == "naive")
    grown, _ = asyncio.run(_play(open_cases(cases), policy, rules, trajectories))
    print(json.dumps(grown / MEGABYTE))


if __name__ == "__main__":
    main()
