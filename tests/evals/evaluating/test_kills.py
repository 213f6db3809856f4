"""Evaluations that are killed at any moment and resumed come to the same, byte for byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLS = 3
ROOT = Path(__file__).parents[3]


def test_an_evaluation_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    module = "tests.evals.evaluating.killed_evaluations"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["killed"], found["different"]) == (KILLS, 0)
