"""Evaluates in processes that are killed by SIGKILL, and resumes them.

`python -m tests.evals.evaluating.killed_evaluations FOLDER KILLS` prints, as JSON, how many
processes were killed and how many of the evaluations then came to something else than one that
nobody killed.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from medgym import cli
from medgym.evals.reports import page
from medgym.rollout import keeper
from tests.storage import killed_runs

LAST = 60
"""The latest operation at which a process is killed; a whole evaluation has about twice as many."""


def evaluate(out: Path) -> None:
    """Evaluate, or what is missing of it."""
    words = ["eval", str(out.parent / "cases.jsonl"), "--policy", "scripted:random"]
    more = ["--view-size", "32", "--repeats", "2", "--concurrency", "2", "--out", str(out)]
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the process ends with it
    if cli.main([*words, *more]):
        raise SystemExit(f"the evaluation in {out} failed")


def came_to(out: Path) -> tuple[bytes, dict[str, Any]]:
    """What an evaluation comes to: the bytes of its outcomes, and its figures."""
    found = json.loads((out / "results.json").read_text())
    del found["seconds"]
    return (out / "outcomes.parquet").read_bytes(), found


def main(folder: Path, kills: int) -> dict[str, int]:
    """Kill so many processes."""
    keeper.FLUSH_COUNT = 2
    killed_runs.play = evaluate
    page.write_run_page = lambda *_, **__: None  # it comes after all that is compared
    chance = random.Random(0)
    killed_runs.write_small_cases(folder / "cases.jsonl")
    killed_runs.load_what_a_run_loads(folder)
    killed_runs.forked(folder / "whole", None)
    expected = came_to(folder / "whole")
    killed, runs, different = 0, 0, 0
    while killed < kills:
        out = folder / f"run-{runs}"
        runs += 1
        while not killed_runs.is_done(out):
            number = chance.randint(1, LAST) if killed < kills else None
            killed += killed_runs.forked(out, number) == signal.SIGKILL
        different += came_to(out) != expected
    return {"killed": killed, "runs": runs, "different": different}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))))
