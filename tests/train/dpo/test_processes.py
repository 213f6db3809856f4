"""Two processes learn from the batches of one: the same losses, and so the same adapter."""

import json
from pathlib import Path

import pytest

from tests.two_processes import run_two

pytestmark = pytest.mark.slow


def train(tiny: str, folder: str) -> None:
    import os

    from medgym.storage.layout import Place
    from medgym.train.dpo.training import train_dpo
    from medgym.train.models.checkpoint import load_model
    from tests.train.dpo.conftest import pairs_of
    from tests.train.dpo.test_training import RULES, SAMPLING, recipe

    given = pairs_of(Path(tiny))
    model, processor = load_model(tiny)
    several = "WORLD_SIZE" in os.environ
    place = Place(Path(folder) / ("two" if several else "one"), "dpo")
    train_dpo(
        recipe(
            {"max_steps": 3, "per_device_train_batch_size": 4, "precompute_ref_log_probs": True}
            | {"train_sampling_strategy": "sequential", "terms": {"image": 1.0}}
        ),
        model,
        processor,
        given.pairs,
        given.pictures.__getitem__,
        place,
        cases=list(given.cases.values()),
        rules=RULES,
        sampling=SAMPLING,
    )


def test_two_processes_learn_as_one(tiny_folder: Path, tmp_path: Path) -> None:
    ended = run_two(train, str(tiny_folder), str(tmp_path), folder=tmp_path, timeout=600)
    assert [each.status for each in ended] == [0, 0], [each.stderr for each in ended]
    train(str(tiny_folder), str(tmp_path))
    told = [
        [json.loads(line) for line in (tmp_path / name / "metrics-dpo.jsonl").open()]
        for name in ("one", "two")
    ]
    names = ("rewards/chosen", "rewards/other", "logps/chosen_change", "rewards/margins")
    for one, two in zip(*told, strict=True):
        assert one["num_tokens"] == two["num_tokens"]
        for name in ("loss", *names):
            assert two[name] == pytest.approx(one[name], abs=1e-4), name
    assert told[0][-1]["loss"] < told[0][0]["loss"]
    adapters = tmp_path / "two" / "adapters" / "dpo"
    assert [path.name for path in adapters.iterdir()] == ["3"]
