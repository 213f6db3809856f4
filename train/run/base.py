"""The first stage of a run: the base model that everything is trained over."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgym.errors import UserError
from medgym.local_model import local_model
from medgym.model_options import ModelOptions
from medgym.models import find_model, load_model
from medgym.tool_form import ToolFormName

from ..models.checkpoint import save_model
from ..models.lora import check_targets
from ..models.template import switched
from ..recipe.schema import Recipe
from .opened import Run
from .stage import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

WEIGHTS = ("*.safetensors", "*.bin")
"""What the weights in a model's folder are called."""


class BaseStage(Stage):
    """`[model]`: a model by its folder or hub name, or the built-in one, made on first use."""

    name: ClassVar[str] = "base"

    def check(self, run: Run) -> None:
        """Make sure that there is such a model, without loading its weights."""
        recipe = run.recipe
        switch, form = switched(recipe.rollout.chat_template_kwargs), recipe.tools.form
        asked = recipe.model.options != ModelOptions() or recipe.rollout.chat_template_kwargs
        if recipe.model.path is not None or asked or form != "text":
            with shape_of_base(recipe) as base:
                model = check_model(base, recipe.model.options, switch, form)
        else:
            model = _untrained(recipe)[0]
        for table, keys in {"lora": recipe.lora, "sft.lora": recipe.sft.get("lora", {})}.items():
            check_targets(model, keys, recipe.model.adapt, table)

    def do(self, run: Run) -> None:
        """Make the base, if it is the built-in one."""
        _ = run.base  # it is made on first use


@contextmanager
def shape_of_base(recipe: Recipe) -> Iterator[str]:
    """The name of a recipe's base, or of an untrained model that stands for the built-in one.

    So what is asked of the built-in base is checked before it is made, which takes minutes.
    """
    if recipe.model.path is not None:
        yield recipe.model.path
        return
    name = str(recipe.model.build)
    with tempfile.TemporaryDirectory(prefix="medgym-") as folder:
        save_model(*_untrained(recipe), Path(folder) / name)
        try:
            yield str(Path(folder) / name)
        except UserError as error:
            raise UserError(str(error).replace(str(Path(folder) / name), name)) from error


def _untrained(recipe: Recipe) -> "tuple[PreTrainedModel, ProcessorMixin]":
    """A model of the classes and with the chat template of the built-in base."""
    from ..tiny.built import BUILT
    from ..tiny.model import build_model
    from ..tiny.tokenizer import build_processor

    config = BUILT[str(recipe.model.build)].model
    processor = build_processor((), config.view_size)
    return build_model(config, processor.tokenizer, 0), processor


def check_model(
    name: str,
    options: ModelOptions,
    check: "Callable[[ProcessorMixin], object] | None" = None,
    tool_form: ToolFormName = "text",
) -> "PreTrainedModel":
    """Make sure that a name is a vision-language model's, without loading its weights.

    Args:
        name, options, check: as `load_model` takes them.

    Returns:
        The model, without its weights.

    Raises:
        UserError: it is not, or its chat template has no place for tools and `tool_form` asks it.
    """
    found = find_model(name)
    model, processor, _ = load_model(name, None, options, check=check, weights=False, found=found)
    if tool_form == "native":
        local_model(model, processor, tool_form=tool_form)
    folder = Path(found.path)
    if folder.is_dir() and not any(file for each in WEIGHTS for file in folder.glob(each)):
        raise UserError(
            f"the model {name} has no weights; fix: name a folder or a hub model with weights"
        )
    return model
