"""The first stage of a run: the base model that everything is trained over."""

from pathlib import Path
from typing import ClassVar

from medgym.errors import UserError
from medgym.failures import reason_of

from .opened import Run
from .stage import Stage

WEIGHTS = ("*.safetensors", "*.bin")
"""What the weights in a model's folder are called."""


class Base(Stage):
    """`[model]`: a model by its folder or hub name, or the built-in one, made on first use."""

    name: ClassVar[str] = "base"
    table: ClassVar[str] = "model"

    def check(self, run: Run) -> None:
        """Make sure that there is such a model, without its weights."""
        if run.recipe.model.path is not None:
            check_model(run.recipe.model.path)

    def do(self, run: Run) -> None:
        """Make the base, if it is the built-in one."""
        assert run.base


def check_model(path: str) -> None:
    """Make sure that a folder or hub name holds a vision-language model.

    Raises:
        UserError: it does not.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    folder = Path(path).expanduser()
    looks_like_a_path = path.startswith((".", "/", "~")) or path.count("/") > 1
    fix = "fix: name a folder or a hub model with weights and a processor"
    if looks_like_a_path and not folder.is_dir():
        raise UserError(f"[model] path: there is no folder {path}; fix: check the path")
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load the model {path} ({reason_of(error)[:120]}); {fix}"
        ) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise UserError(f"the model {path} ({config.model_type}) reads no images with text; {fix}")
    if folder.is_dir() and not any(file for name in WEIGHTS for file in folder.glob(name)):
        raise UserError(f"the model {path} has no weights; {fix}")
