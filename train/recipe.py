"""What a training run is made of, as TOML: read strictly, so that a typo cannot pass for a default.

`[lora]` goes straight through to `peft.LoraConfig` and `[grpo]` to `trl.GRPOConfig`; their keys are
those classes' own. An unknown key anywhere is an error that names the nearest one.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medgym.errors import UserError, unknown
from medgym.registry import load, names


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelTable(_Table):
    """`[model]`: the base. `build = "tiny"` makes the built-in one, `path` names any other."""

    build: Literal["tiny"] | None = None
    path: str | None = None


class CasesTable(_Table):
    """`[cases]`: case specs. `order` "balanced" puts every answer equally often into each step."""

    train: str
    test: str
    order: Literal["shuffled", "balanced"] = "shuffled"


class ToolsTable(_Table):
    """`[tools]`: names of registered tools; none for a policy without tools."""

    names: tuple[str, ...] = ("zoom",)


class RubricTable(_Table):
    """`[rubric]`: name of a registered rubric."""

    name: str = "outcome"


class RolloutTable(_Table):
    """`[rollout]`: budgets of an episode and how replies are drawn."""

    max_turns: int = Field(default=6, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    view_size: int | None = None
    temperature: float = Field(default=1.0, gt=0)


class DemonstrationsTable(_Table):
    """`[demonstrations]`: whose episodes the cold start imitates, and on which cases."""

    policy: str
    cases: str


class SFTTable(_Table):
    """`[sft]`: the cold start's optimisation, under the names of `trl.SFTConfig`."""

    max_steps: int = Field(default=60, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    per_device_train_batch_size: int = Field(default=32, ge=1)
    train_vision: bool = False


class Recipe(_Table):
    """A whole training run."""

    name: str
    seed: int = 0
    model: ModelTable
    cases: CasesTable
    tools: ToolsTable = ToolsTable()
    rubric: RubricTable = RubricTable()
    rollout: RolloutTable = RolloutTable()
    demonstrations: DemonstrationsTable | None = None
    sft: SFTTable = SFTTable()
    lora: dict[str, Any] = {}
    grpo: dict[str, Any] = {}


_TRL_OURS = {
    "output_dir": "the run's folder",
    "seed": "the recipe's seed",
    "temperature": "[rollout] temperature",
    "max_completion_length": "[rollout] max_tokens",
    "reward_weights": "the rubric",
}


def load_recipe(name: str, **changes: Any) -> tuple[Recipe, str]:
    """A recipe by registered name or path of a TOML file, and its text.

    Args:
        name: `tiny`, or `path/to/recipe.toml`.
        changes: top-level values to set in place of the file's, as `seed=1`.

    Raises:
        UserError: no such recipe, not TOML, an unknown key (the nearest is named), a wrong value.
    """
    path = Path(name) if name.endswith(".toml") else None
    if path is None:
        path = load("recipes", name)
    elif not path.is_file():
        shipped = ", ".join(names("recipes"))
        raise UserError(f"no such recipe: {path}; mend: check the path, or use one of {shipped}")
    assert path is not None
    text = path.read_text("utf-8")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML ({error}); mend: correct that place") from error
    data |= {key: value for key, value in changes.items() if value is not None}
    data.setdefault("name", path.stem)
    return parse_recipe(data, str(path)), text


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """Check a recipe's data; errors as in `load_recipe`."""
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _recipe_error(error, where) from None
    if (recipe.model.build is None) == (recipe.model.path is None):
        raise UserError(f"{where}: [model] needs either build or path; mend: give one of them")
    _check_keys(recipe, where)
    return recipe


def _recipe_error(error: ValidationError, where: str) -> UserError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return UserError(f"{where}: {place}: {first['msg']}")
    table: Any = Recipe
    for part in first["loc"][:-1]:
        annotation = table.model_fields[str(part)].annotation
        options = getattr(annotation, "__args__", (annotation,))
        table = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return unknown(f"key in {where}:", place, [*_prefixed(table, first["loc"][:-1])])


def _prefixed(table: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    return [".".join([*map(str, loc), name]) for name in table.model_fields]


def _check_keys(recipe: Recipe, where: str) -> None:
    """`[lora]` and `[grpo]` hold keys of the libraries' own configuration classes."""
    if recipe.lora:
        from peft import LoraConfig

        known = {field.name for field in dataclasses.fields(LoraConfig)}
        for key in recipe.lora.keys() - known:
            raise unknown(f"key in {where}:", f"lora.{key}", [f"lora.{name}" for name in known])
    if recipe.grpo:
        from trl import GRPOConfig

        known = {field.name for field in dataclasses.fields(GRPOConfig)} - _TRL_OURS.keys()
        for key in recipe.grpo:
            if key in _TRL_OURS:
                raise UserError(
                    f"{where}: grpo.{key} is set from {_TRL_OURS[key]}; mend: remove it there"
                )
            if key not in known:
                raise unknown(f"key in {where}:", f"grpo.{key}", [f"grpo.{n}" for n in known])
