"""What a stage of a run is, and how each is done once.

The run's folder says what is done: `stages.json` lists the finished stages with their seconds. A
resumed run begins with the first stage that is not in it.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgym.errors import RunError
from medgym.gpu_memory import ELSEWHERE, gpu_memory_error
from medgym.storage.disk import disk_may_fill
from medgym.storage.layout import Place

from .fingerprint import PlugIn
from .opened import Run
from .processes import TIMEOUT, is_first, join, wait_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ReportPanel:
    """One drawing in the report of a run: `draw` receives its axes."""

    draw: Callable[["Axes"], None]


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy that a stage leaves in the run's folder, to be judged at the end.

    Attributes:
        name: under which `results.json` lists it.
        title: what tables and figures call it.
        model: a model's folder or name. adapter: over it, if there is one.
    """

    name: str
    title: str
    model: Path | str
    adapter: Path | None = None


class Stage(ABC):
    """One stage of a run.

    Attributes:
        name: under which `stages.json` lists it.
        needs: the names of stages that come before it, and whose results it uses.
        together: whether all processes of a run do it, where there are several. Only the first one
            may write (`processes`).
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    together: ClassVar[bool] = False

    def wanted(self, run: Run) -> bool:
        """Whether the recipe asks for this stage."""
        return True

    def check(self, run: Run) -> None:  # noqa: B027 - some stages lack nothing
        """Look for what the stage lacks, before anything is written.

        Raises:
            UserError: something is missing or wrong.
        """

    def plug_ins(self, run: Run) -> Iterable[PlugIn]:
        """The plug-ins that the recipe names and the stage uses."""
        return ()

    @abstractmethod
    def do(self, run: Run) -> None:
        """Do the stage, or resume it. What it makes is in the run's folder afterwards."""

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The policies that the stage leaves to be judged, once it is done."""
        return ()

    def panels(self, run: Run) -> Sequence[ReportPanel]:
        """The curves that the stage draws in the report, from what it wrote."""
        return ()


def once(place: Place, name: str, work: Callable[[], None], *, together: bool = False) -> None:
    """Do a stage that is not done yet, and write down that it is.

    Where several processes do a run, the first does it while the others wait; with `together` all
    of them do it.
    """
    if name in place.stages():
        return
    start = time.monotonic()
    if is_first() or together:
        with disk_may_fill(), _memory_may_end():
            work()
    if is_first():
        with disk_may_fill():
            place.finish(name, time.monotonic() - start)
    else:
        wait_for(name, place.stages)


LESS_MEMORY = (
    f"{ELSEWHERE}, then --resume; or in a new run halve per_device_train_batch_size and double "
    "gradient_accumulation_steps, set gradient_checkpointing = true, or lower [rollout] "
    "view_size, max_tokens or max_turns"
)
"""What can be done where training does not fit on a GPU."""


@contextmanager
def _memory_may_end() -> Iterator[None]:
    """What training says where a GPU has no memory left, wherever that was."""
    try:
        yield
    except Exception as error:
        no_memory = gpu_memory_error(error, LESS_MEMORY)
        if no_memory is None:
            raise
        raise no_memory from error


def do(stages: Sequence[Stage], run: Run) -> None:
    """Do those stages that the recipe asks for and that are not done yet, one after another.

    Raises:
        RunError: a stage needs one that is not done.
    """
    for stage in (each for each in stages if each.wanted(run)):
        missing = [name for name in stage.needs if name not in run.place.stages()]
        if missing:
            raise RunError(
                f"the stage {stage.name} of {run.folder} needs {missing[0]}, which is not done; "
                "fix: begin a new run"
            )
        if stage.together:
            asked = (run.recipe.grpo, run.recipe.dpo, run.recipe.kto, run.recipe.sft)
            join(
                max(float(keys.get("ddp_timeout", TIMEOUT)) for keys in asked),
                next((keys["ddp_backend"] for keys in asked if "ddp_backend" in keys), None),
            )
        once(run.place, stage.name, partial(stage.do, run), together=stage.together)
