"""A consultation trained over a real vLLM server, which `MEDGYM_VLLM_URL` names.

The one server plays all roles throughout, each by its newest adapter: in learning, where opinions
are collected, and where everybody is judged.
"""

import json
from pathlib import Path

import pytest

from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.consultation.run import run_consultation
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from tests.train.grpo.test_vllm import URL, base

pytestmark = [
    pytest.mark.skipif(not URL, reason="MEDGYM_VLLM_URL names no server"),
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("server_alone"),
]

__all__ = ["base"]  # the fixture
CASES = "phantom,look=radiograph+ct,question=kind"


def test_one_server_plays_every_role_by_its_newest_adapter(base: Path, tmp_path: Path) -> None:
    doctors = "scripted:specialist,specialty={specialty}"
    recipe = parse_recipe(
        {
            "name": "served",
            "model": {"path": str(base)},
            "cases": {"train": f"{CASES}:train[:12]", "test": f"{CASES}:test[:2]"},
            "tools": {"names": ["zoom"]},
            "rollout": {
                "policy": f"openai:{URL}#base", "max_turns": 3, "max_tokens": 24, "view_size": 64,
                "max_context": 2048,
            },
            "consultation": {"specialties": ["radiologist", "surgeon"], "opinions": 1},
            "roles": {
                "specialist": {"policy": doctors, "tools": []},
                "attending": {"tools": ["zoom"]},
            },
            "marl": {"cases": 6, "rounds": 2, "triage_reward": "outcome", "single": False},
            "lora": {"r": 8},
            "sight": {"every": 0},
            "grpo": {
                "max_steps": 2, "per_device_train_batch_size": 4, "num_generations": 2,
                "learning_rate": 5e-3, "beta": 0.0, "report_to": ["none"], "save_steps": 1,
                "vllm_importance_sampling_mode": "token_truncate",
            },
        },
        "served.toml",
    )  # fmt: skip
    results = run_consultation(Run(recipe, tmp_path))
    assert {"attending", "triage", "majority", "no_specialists"} <= set(results["policies"])
    for trajectory in TrajectoryStore(tmp_path / "judged/attending"):
        parts = dict(trajectory.parts())
        assert (parts["triage"].version, parts["attending"].version) == ("triage-2", "attending-2")
        assert parts["attending"].kind == "sampled"
        assert "openai:" in parts["attending"].policy
    for role in ("triage", "attending"):
        played = [t.version for t in TrajectoryStore(Place(tmp_path, role).rollouts)]
        assert played == [*[""] * 4, *[f"{role}-1"] * 4]
        rows = map(json.loads, Place(tmp_path, role).metrics.read_text().splitlines())
        for row in rows:
            assert row["sampling/sampling_logp_difference/mean"] < 0.01
    for folder in (tmp_path / "opinions").iterdir():
        assert all(t.branches for t in RunFolder.open(folder).trajectories)
