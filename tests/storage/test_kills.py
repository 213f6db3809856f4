"""Runs that are killed at any moment, again and again, end as one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLS = 100


def test_a_run_that_is_killed_at_any_moment_ends_as_one_that_is_not(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] == KILLS
    assert found["different"] == 0
    assert found["beginnings"] > 0, "some were killed before there was a manifest"
