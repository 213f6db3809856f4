"""Tables of episodes in TRL's own tables of completions, and images only where they are logged."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
from trl.trainer import grpo_trainer

from medgym.train.grpo.config import grpo_config
from medgym.train.recipe.schema import parse_recipe

COLUMNS = {"case", "question", "gold", "answer", "right", "reward", "looks", "failure"}


class Backend:
    """Stands where W&B and Trackio do; keeps the tables that TRL gives them."""

    def __init__(self) -> None:
        self.tables: list[pandas.DataFrame] = []

    def Image(self, image: Any) -> Any:
        return SimpleNamespace(shown=image)

    def Table(self, dataframe: pandas.DataFrame) -> pandas.DataFrame:
        return dataframe

    def log(self, logged: dict[str, pandas.DataFrame]) -> None:
        self.tables.append(logged["completions"])


def test_a_table_has_the_episode_and_its_views(
    make_trainer: Any, uneven: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, played = Backend(), []
    monkeypatch.setattr(grpo_trainer, "trackio", backend, raising=False)
    trainer = make_trainer(
        rules=uneven,
        log_completions=True,
        num_completions_to_print=0,
        on_step=lambda _, pairs: played.append(pairs),
    )
    trainer.args.report_to = ["trackio"]  # the package itself need not be there
    trainer.train()
    first = backend.tables[0]
    assert COLUMNS | {"step", "prompt", "completion", "uneven", "advantage"} < set(first.columns)
    for (case, trajectory), (_, row) in zip(played[0], first.iterrows(), strict=True):
        assert row["case"] == case.id
        assert row["question"] == case.question
        assert row["gold"] == case.answer
        assert row["reward"] == pytest.approx(row["uneven"]) == trajectory.reward
        assert len(row["image"]) == 1 + len(trajectory.looks)
        assert row["image"][0].shown.size == (64, 64)
        assert case.question in str(row["prompt"])
    files = sorted((tmp_path / "checkpoints" / "completions").iterdir())
    assert [file.name for file in files] == [f"completions_0000{n}.parquet" for n in (1, 2)]
    assert set(pandas.read_parquet(files[0]).columns) > COLUMNS


def test_images_are_gathered_only_for_tables(make_trainer: Any, uneven: Any) -> None:
    trainer = make_trainer(rules=uneven, log_multimodal=False, max_steps=1)
    trainer.train()
    assert not trainer._logs["images"]
    assert not trainer._logs["extra"]


@pytest.mark.parametrize(
    ("grpo", "expected"),
    [
        ({}, False),
        ({"log_completions": True}, True),
        ({"log_completions": True, "log_multimodal": False}, False),
    ],
)
def test_whether_images_are_logged_follows_from_the_tables(
    grpo: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    data = {
        "name": "small",
        "model": {"path": "base"},
        "cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"},
        "grpo": grpo,
    }
    config = grpo_config(parse_recipe(data, "small.toml"), tmp_path)
    assert config.log_multimodal is expected
    assert config.num_completions_to_print == 0
