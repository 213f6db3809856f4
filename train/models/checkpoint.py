"""Models from folders and into them: ordinary transformers checkpoints."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from medgym import models
from medgym.errors import RunError
from medgym.failures import reason_of
from medgym.model_options import DEFAULTS, ModelOptions
from medgym.storage.atomic import UNFINISHED, check_writable, move_whole, remove

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


def load_model(
    path: Path | str,
    options: ModelOptions = DEFAULTS,
    check: "Callable[[ProcessorMixin], object] | None" = None,
) -> "tuple[PreTrainedModel, ProcessorMixin]":
    """A model and its processor as training holds them: padding is on the left.

    Args:
        path, options, check: as `medgym.models.load_model` takes them.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    model, processor, _ = models.load_model(str(path), None, options, check=check)
    processor.tokenizer.padding_side = "left"
    return model, processor


def save_model(model: "PreTrainedModel", processor: "ProcessorMixin", path: Path) -> None:
    """Write a checkpoint that plain transformers loads."""
    transformers.logging.disable_progress_bar()
    model.save_pretrained(path)
    processor.save_pretrained(path)


def save_whole_model(model: "PreTrainedModel", processor: "ProcessorMixin", place: Path) -> None:
    """`save_model`, under another name first: what is at `place` is a whole model."""
    making = place.with_name(f"{UNFINISHED}{place.name}")
    remove(making)  # of a run that was killed
    save_model(model, processor, making)
    move_whole(making, place)


class WholeCheckpoints:
    """Mixed into a `transformers.Trainer`: a checkpoint is there whole, or not at all.

    It is written elsewhere and moved to its place. A disk that fills, or a kill, leaves the last
    checkpoint as it was, and no partial one.
    """

    _aside: Path | None = None

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        """Write a checkpoint.

        Raises:
            RunError: it cannot be written; those before it are untouched.
            UserError: the folder of checkpoints is a link.
        """
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        place = Path(str(self.args.output_dir))
        check_writable(place / name)
        self._aside = place / ".tmp-checkpoint"
        self._clear_aside()  # of a run that was killed
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.accelerator.wait_for_everyone()
            if self.state.best_global_step == self.state.global_step:  # it was noted as lying aside
                self.state.best_model_checkpoint = str(place / name)
                if self.args.should_save:
                    self.state.save_to_json(str(self._aside / name / TRAINER_STATE_NAME))
            if self.args.should_save:
                move_whole(self._aside / name, place / name)
                best = self.state.best_model_checkpoint
                rotate_checkpoints(str(place), self.args.save_total_limit, best)
        except Exception as error:  # libraries that write files raise what they like
            raise RunError(
                f"{place / name} cannot be written ({reason_of(error)}); fix: make room, then "
                "resume from the last checkpoint with --resume"
            ) from error
        finally:
            self._clear_aside()
            self._aside = None

    def _clear_aside(self: Any) -> None:
        if self.args.should_save:
            with suppress(OSError):
                remove(self._aside)

    def _get_output_dir(self: Any, trial: Any) -> str:
        return str(self._aside or super()._get_output_dir(trial))  # type: ignore[misc]


def context_of(model: "PreTrainedModel") -> int | None:
    """The greatest number of tokens that a model takes, if it says."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None
