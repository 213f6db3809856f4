"""A switch of the chat template holds wherever the run's model is rendered for."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import trl

from medgym.agents.rendering import Renderer
from medgym.errors import UserError
from medgym.messages import Message, TextPart
from medgym.models import load_processor
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.base import BaseStage
from medgym.train.run.judging import model_policy, trained_policy
from medgym.train.run.opened import Run
from medgym.train.run.stage import TrainedPolicy
from medgym.train.sft.stage import ColdStartStage

ASKED = [Message("user", (TextPart("Which?"),))]
CLOSED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture
def base(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model whose template opens a thought, unless `enable_thinking` is false."""
    folder = shutil.copytree(tiny_folder, tmp_path / "base")
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3_5_think.jinja"
    shutil.copy(template, folder / "chat_template.jinja")
    return folder


def run_of(base: Path, folder: Path, **options: object) -> Run:
    data: dict[str, Any] = {
        "name": "small",
        "model": {"path": str(base)},
        "cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"},
        "rollout": {"chat_template_kwargs": options},
        "grpo": {"max_steps": 1},
    }
    folder.mkdir()
    return Run(parse_recipe(data, "small.toml"), folder)


def written(renderer: Any) -> str:
    return str(renderer.tokenizer.decode(renderer.prompt(ASKED).ids))


def test_thinking_is_off_in_all_that_a_run_leaves(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path / "run", enable_thinking=False)
    BaseStage().check(run)
    ColdStartStage().do(run)
    assert Renderer(load_processor(str(base))).opening == "<think>\n"
    left = str(run.place.cold_start)
    engine = Renderer(load_processor(left))  # as vllm: and openai: make theirs
    here: Any = model_policy(left)
    judged: Any = trained_policy(TrainedPolicy("base", "base model", run.base), run)
    for renderer in (engine, here.renderer, judged.renderer):
        assert renderer.opening == ""
        assert written(renderer).endswith(CLOSED)


def test_without_a_switch_the_template_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path / "run")
    ColdStartStage().do(run)
    kept, own = (load_processor(str(folder)) for folder in (run.place.cold_start, base))
    assert kept.chat_template == own.chat_template


@pytest.mark.parametrize("name", ["enable_thinkin", "messages"])
def test_an_option_that_the_template_does_not_read_is_refused(
    name: str, base: Path, tmp_path: Path
) -> None:
    run = run_of(base, tmp_path / "run", **{name: False})
    with pytest.raises(UserError, match=f"template has no option '{name}'; fix: ") as caught:
        BaseStage().check(run)
    assert "\n" not in str(caught.value)
