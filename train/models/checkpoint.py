"""Models from folders and into them: ordinary transformers checkpoints."""

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from medgym.errors import RunError, UserError
from medgym.failures import reason_of


def load_model(path: Path | str) -> tuple[Any, Any]:
    """A model in float32 on a CPU (as stored on a GPU), and its processor with padding on the left.

    Raises:
        UserError: the folder (or hub name) holds no model.
    """
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = torch.cuda.is_available()
    if on_gpu and "LOCAL_RANK" in os.environ:  # of several processes, each has a GPU of its own
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        processor = AutoProcessor.from_pretrained(path)
        transformers.logging.disable_progress_bar()  # medgym shows its own
        model: Any = AutoModelForImageTextToText.from_pretrained(
            path, dtype="auto" if on_gpu else torch.float32
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load the model {path} ({str(error).splitlines()[0][:120]}); "
            "fix: name a folder or a hub model with weights and a processor"
        ) from error
    processor.tokenizer.padding_side = "left"
    return model.to("cuda" if on_gpu else "cpu"), processor


def save_model(model: Any, processor: Any, path: Path) -> None:
    """Write a checkpoint that plain transformers loads."""
    transformers.logging.disable_progress_bar()
    model.save_pretrained(path)
    processor.save_pretrained(path)


def move_whole(made: Path, place: Path) -> None:
    """Move a finished folder to its place, once all that is in it is on the disk."""
    for path in (*made.rglob("*"), made):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    shutil.rmtree(place, ignore_errors=True)
    made.rename(place)


class WholeCheckpoints:
    """Mixed into a `transformers.Trainer`: a checkpoint is there whole, or not at all.

    It is written aside and moved to its place, so that a disk that fills, or a kill, leaves the
    last one as it was and none that is half there.
    """

    _aside: Path | None = None

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        """Write a checkpoint.

        Raises:
            RunError: it cannot be written; those before it are untouched.
        """
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        place = Path(str(self.args.output_dir))
        self._aside = place / ".tmp-checkpoint"
        self._clear_aside()  # of a run that was killed
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                move_whole(self._aside / name, place / name)
                rotate_checkpoints(str(place), self.args.save_total_limit)
        except Exception as error:  # libraries that write files raise what they like
            raise RunError(
                f"{place / name} cannot be written ({reason_of(error)}); fix: make room, then go "
                "on with --resume from the last checkpoint"
            ) from error
        finally:
            self._clear_aside()
            self._aside = None

    def _clear_aside(self: Any) -> None:
        if self.args.should_save:
            shutil.rmtree(str(self._aside), ignore_errors=True)

    def _get_output_dir(self: Any, trial: Any) -> str:
        return str(self._aside or super()._get_output_dir(trial))  # type: ignore[misc]
