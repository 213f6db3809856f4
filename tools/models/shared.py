"""One copy of a model for each process, loaded at the first call and shared by all threads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medgym.errors import RunError, UserError, missing_library
from medgym.failures import reason_of
from medgym.model_loading import device_of, weight_keywords
from medgym.model_options import ModelOptions

DEADLINE_S = 600.0
"""Seconds that a call of a tool with a model may take: the first one loads the model."""

BATCH = 8
"""Calls of a tool with a model that are joined."""


@dataclass(frozen=True)
class ModelPlace:
    """Where and in which numbers a model computes.

    Raises:
        UserError: no such device or type of numbers.
    """

    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        device_of(self.options)

    @property
    def options(self) -> ModelOptions:
        """The same as every model of medgym has them."""
        device = "" if self.device == "auto" else self.device
        return ModelOptions(dtype=self.dtype, device=device)  # type: ignore[arg-type]

    def declare(self, tool: object) -> None:
        """Say of a tool, or of a back end, what a model here takes: a GPU if one is asked for, and
        batches."""
        on_gpu = self.device.startswith("cuda")
        resources = {"num_gpus": 1.0} if on_gpu else {}
        vars(tool).update(resources=resources, batch_size=BATCH, deadline_s=DEADLINE_S)


@dataclass
class Shared:
    """A model of this process, and what only one thread may use at a time.

    Attributes:
        model, processor: as they were loaded. device: where the model is.
        lock: held while the model computes.
    """

    model: Any
    processor: Any
    device: str
    lock: threading.Lock = field(default_factory=threading.Lock)


_LOADED: dict[tuple[Any, ...], Shared] = {}
_LOADING: dict[tuple[Any, ...], threading.Lock] = {}
_GUARD = threading.Lock()


def shared(key: tuple[Any, ...], load: Callable[[], Shared]) -> Shared:
    """The model of a key, which `load` loads if this process has not loaded it yet.

    Raises:
        UserError: it cannot be loaded; the next call tries again.
    """
    with _GUARD:
        lock = _LOADING.setdefault(key, threading.Lock())
    with lock:
        found = _LOADED.get(key)
        if found is None:
            try:
                found = load()
            except (UserError, RunError):
                raise
            except ModuleNotFoundError as error:
                raise missing_library(error) from error
            except Exception as error:
                raise UserError(
                    f"cannot load the model {key[1]} ({reason_of(error)[:160]}); fix: copy it "
                    "again, or name another one"
                ) from error
            _LOADED[key] = found
        return found


def loaded(kind: type, processor: type, folder: str, place: ModelPlace) -> Shared:
    """A model of transformers with its processor, shared; see `shared`.

    Args:
        kind: the class (or auto class) of the model. processor: that of the processor.

    Raises:
        UserError: the weights are damaged, or some are missing, or of another shape.
    """
    return shared(
        (kind.__name__, folder, place), lambda: _from_folder(kind, processor, folder, place)
    )


def _from_folder(kind: Any, processor: Any, folder: str, place: ModelPlace) -> Shared:
    import transformers

    transformers.logging.disable_progress_bar()  # medgym shows its own
    device = device_of(place.options)
    made = processor.from_pretrained(folder, local_files_only=True)
    model, info = kind.from_pretrained(
        folder,
        local_files_only=True,
        output_loading_info=True,
        **weight_keywords(place.options, device),
    )
    # transformers only warns of these, and fills them with random numbers.
    odd = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if odd:
        raise UserError(
            f"{folder} lacks {len(odd)} of the weights of a {type(model).__name__}, such as "
            f"{odd[0][:80]}; fix: name a checkpoint of this kind of model"
        )
    return Shared(model.to(device).eval(), made, device)
