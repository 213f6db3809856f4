"""The first stage of a run: the base model that everything is trained over."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgym.errors import UserError
from medgym.local_model import local_model
from medgym.model_options import ModelOptions
from medgym.models import find_model, load_model
from medgym.tool_form import ToolFormName

from ..models.template import switched
from .opened import Run
from .stage import Stage

if TYPE_CHECKING:
    from transformers import ProcessorMixin

WEIGHTS = ("*.safetensors", "*.bin")
"""What the weights in a model's folder are called."""


class BaseStage(Stage):
    """`[model]`: a model by its folder or hub name, or the built-in one, made on first use."""

    name: ClassVar[str] = "base"

    def check(self, run: Run) -> None:
        """Make sure that there is such a model, without loading its weights."""
        if run.recipe.model.path is not None:
            switch = switched(run.recipe.rollout.chat_template_kwargs)
            form = run.recipe.tools.form
            check_model(run.recipe.model.path, run.recipe.model.options, switch, form)

    def do(self, run: Run) -> None:
        """Make the base, if it is the built-in one."""
        _ = run.base  # it is made on first use


def check_model(
    name: str,
    options: ModelOptions,
    check: "Callable[[ProcessorMixin], object] | None" = None,
    tool_form: ToolFormName = "text",
) -> None:
    """Make sure that a name is a vision-language model's, without loading its weights.

    Args:
        name, options, check: as `load_model` takes them.

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
