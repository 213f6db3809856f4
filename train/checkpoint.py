"""Models from folders and into them: ordinary transformers checkpoints."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForImageTextToText, AutoProcessor

from medgym.errors import UserError


def load_model(path: Path | str) -> tuple[Any, Any]:
    """A model in float32 on a CPU (as stored on a GPU), and its processor with padding on the left.

    Raises:
        UserError: the folder (or hub name) holds no model.
    """
    on_gpu = torch.cuda.is_available()
    try:
        processor = AutoProcessor.from_pretrained(path)
        transformers.logging.disable_progress_bar()  # medgym shows its own
        model: Any = AutoModelForImageTextToText.from_pretrained(
            path, dtype="auto" if on_gpu else torch.float32
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load the model {path} ({str(error).splitlines()[0][:120]}); "
            "mend: name a folder or a hub model with weights and a processor"
        ) from error
    processor.tokenizer.padding_side = "left"
    return model.to("cuda" if on_gpu else "cpu"), processor


def save_model(model: Any, processor: Any, path: Path) -> None:
    """Write a checkpoint that plain transformers loads."""
    transformers.logging.disable_progress_bar()
    model.save_pretrained(path)
    processor.save_pretrained(path)
