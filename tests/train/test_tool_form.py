"""`[tools] form = "native"` from the recipe to the results."""

import json
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

from transformers import AutoTokenizer
from trl import chat_template_utils as templates
from typer.testing import CliRunner

from medgym.cli import app
from medgym.consultation.role import Role
from medgym.errors import UserError
from medgym.metrics.recorded_tokens import kinds_of
from medgym.model_options import ModelOptions
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.consultation.training import Training
from medgym.train.grpo.stage import check_engine
from medgym.train.recipe.schema import ToolsTable, load_recipe, parse_recipe
from medgym.trajectory import validate

RECIPE = """
[model]
path = "{path}"
[cases]
train = "phantom,look=radiograph,question=kind:train[:8]"
test = "phantom,look=radiograph,question=kind:test[:2]"
[tools]
form = "native"
[rollout]
max_turns = 2
max_tokens = 6
[demonstrations]
policy = "scripted:oracle"
cases = "phantom,look=radiograph,question=kind:train[20:24]"
[sft]
max_steps = 1
per_device_train_batch_size = 4
[lora]
r = 2
target_modules = ["q_proj"]
[grpo]
max_steps = 1
per_device_train_batch_size = 4
num_generations = 2
"""


def written(tiny_folder: Path, tmp_path: Path, template: str) -> Path:
    """A recipe over the tiny model with another chat template."""
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    text = getattr(templates, f"{template}_chat_template")
    (model / "chat_template.jinja").write_text(text)
    recipe = tmp_path / "native.toml"
    recipe.write_text(RECIPE.format(path=model))
    return recipe


def test_a_whole_run_in_the_familys_form(tiny_folder: Path, tmp_path: Path) -> None:
    """Demonstrations teach it, GRPO and judging play in it, and records are read as ever."""
    recipe, folder = written(tiny_folder, tmp_path, "qwen3_5_nothink"), tmp_path / "run"
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    tokenizer = AutoTokenizer.from_pretrained(folder / "cold_start")
    shown = list(TrajectoryStore(folder / "trajectories"))
    demonstrated = [each for each in shown if each.kind == "demonstration"]
    assert len(demonstrated) == 4
    for each in demonstrated:
        validate(each)
        assert each.looks
        assert each.malformed == 0
        look = next(node for node in each.nodes if node.role == "assistant")
        assert look.text.startswith('<tool_call>{"name": "zoom", "arguments": {"view": ')
        tokens = tokenizer.decode(look.token_ids)
        assert tokens.startswith("<tool_call>\n<function=zoom>\n<parameter=view>\n0\n")
        assert set(kinds_of(tokenizer, look.token_ids)[:-1]) == {"call"}
        prompt = tokenizer.decode(each.nodes[0].token_ids)
        assert "<IMPORTANT>" in prompt
        assert "\nTools:\n" not in prompt
    judged = list(TrajectoryStore(folder / "judged" / "grpo"))
    assert {"tool_form=native" in each.policy for each in judged} == {True}
    assert json.loads(result.stdout)["policies"]["oracle"]["sampled"]["accuracy"]["value"] == 1


def test_a_template_without_tools_is_refused_before_anything_is_written(
    tiny_folder: Path, tmp_path: Path
) -> None:
    recipe, folder = written(tiny_folder, tmp_path, "qwen2_5_vl"), tmp_path / "run"
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(folder)])
    assert isinstance(result.exception, UserError)
    assert "has no place for tools" in str(result.exception)
    assert not folder.exists()


@pytest.mark.parametrize(("form", "option"), [("text", "native"), ("native", "text")])
def test_an_engine_with_another_form_than_the_recipe_is_refused(
    form: str, option: str, tmp_path: Path
) -> None:
    data = {
        "name": "r",
        "model": {"path": "m"},
        "cases": {"train": "phantom:train[:8]", "test": "phantom:test[:2]"},
        "tools": {"form": form},
        "rollout": {"policy": f"vllm:{{base}}?tool_form={option}"},
        "lora": {"r": 2},
        "grpo": {"max_steps": 1},
    }
    with pytest.raises(UserError, match=f"says tool_form={option}, and .* is '{form}'"):
        check_engine(parse_recipe(data, "r.toml"), Place(tmp_path))


def test_a_consultation_that_was_trained_in_the_native_form_plays_in_it(tmp_path: Path) -> None:
    loaded, _ = load_recipe("consult-tiny")
    recipe = loaded.model_copy(update={"tools": ToolsTable(form="native"), "roles": {}})
    training: Any = SimpleNamespace(
        recipe=recipe,
        folder=tmp_path,
        place=Place(tmp_path),
        options=ModelOptions(dtype="bfloat16"),
        trained=("attending",),
        newest=lambda name: tmp_path / "adapters" / name / "3",
        role=lambda name: Role(name),
    )
    Training.describe(training)
    role = tomllib.loads((tmp_path / "consultation.toml").read_text())["roles"]["attending"]
    assert role["policy"] == "hf:{here}/cold_start?dtype=bfloat16&tool_form=native"
