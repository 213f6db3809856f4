"""GRPO played by a real vLLM server, which `MEDGYM_VLLM_URL` names (see `test_openai_vllm`).

The server plays, gets the adapter after each step, and TRL corrects for the difference between its
samples and the model in training.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from medgym import Sampling, open_cases
from medgym.episode import Rules
from medgym.rubric import Rubric, Term
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import load_tools
from medgym.train.grpo.stage import train_grpo
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import parse_recipe

URL = os.environ.get("MEDGYM_VLLM_URL", "")

pytestmark = [
    pytest.mark.skipif(not URL, reason="MEDGYM_VLLM_URL names no server"),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("server_alone"),
]


@pytest.fixture
def base() -> Path:
    """The folder of the model that is served."""
    from medgym.agents.openai.capabilities import served_models
    from medgym.policy import load_policy

    policy: Any = load_policy(f"openai:{URL}#base")
    models = policy._endpoint.wait(served_models(policy._endpoint))
    for name in models:
        if name != "base":
            policy.drop_adapter(name)
    policy.close()
    return Path(models["base"]["root"])


def test_steps_are_played_by_the_server_and_corrected_for(base: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "name": "served",
            "model": {"path": str(base)},
            "cases": {"train": "phantom:train", "test": "phantom:test"},
            "rollout": {
                "policy": f"openai:{URL}#base", "max_turns": 4, "max_tokens": 40,
                "publish_every": 1, "max_context": 2048,
            },
            "lora": {"r": 8},
            "sight": {"every": 1},
            "grpo": {
                "max_steps": 3, "per_device_train_batch_size": 4, "num_generations": 2,
                "learning_rate": 5e-3, "beta": 0.0, "report_to": ["none"], "save_steps": 3,
                "vllm_importance_sampling_mode": "token_truncate",
            },
        },
        "served.toml",
    )  # fmt: skip
    uneven = Term("uneven", 1.0, lambda _, e: sum(map(ord, e.turns[0].reply)) % 7 / 7)
    rules = Rules(
        tools=load_tools(["zoom"]), view_size=64, max_turns=4, rubric=Rubric("uneven", (uneven,))
    )
    train_grpo(
        recipe,
        *load_model(base),
        open_cases("phantom,look=radiograph,question=kind:train[:16]"),
        rules,
        Sampling(max_tokens=40),
        Place(tmp_path),
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert len(lines) == 3
    for line in lines:
        print({k: v for k, v in line.items() if "sampl" in k or k in ("reward", "grad_norm")})
        assert line["sampling/sampling_logp_difference/mean"] < 0.01
        assert line["sampler/max_abs"] < 0.05
    assert lines[0]["grad_norm"] > 0
    versions = [t.version for t in TrajectoryStore(tmp_path / "trajectories/grpo")]
    assert versions == [*[""] * 4, *["policy-1"] * 4, *["policy-2"] * 4]
    published = sorted(path.name for path in (tmp_path / "adapters/policy").iterdir())
    assert published == ["1", "2", "3"]
