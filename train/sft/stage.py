"""The cold start: the base imitates demonstrations, by supervised fine-tuning."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgym.local_model import local_model
from medgym.progress import Advance, progress
from medgym.storage.atomic import append_line, remove, write_atomic
from medgym.storage.json_files import read_lines
from medgym.storage.run_folder import RunFolder

from ..data.demonstrations import SELF, demonstrations
from ..models.checkpoint import load_model, save_whole_model
from ..models.template import switched
from ..recipe.optimiser import check_optimiser
from ..recipe.reporting import check_reporting
from ..recipe.settings import Keys
from ..recipe.steps import check_steps
from ..run.fingerprint import PlugIn, of_play, of_policies
from ..run.opened import Run
from ..run.policies import check_policy
from ..run.processes import PROCESSES, count, is_first
from ..run.stage import ReportPanel, Stage, TrainedPolicy
from .batches import of_each_process
from .config import sft_config
from .trainer import supervised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from transformers import PreTrainedModel


class ColdStartStage(Stage):
    """`[demonstrations]` and `[sft]`: a model that has learned the format, and a first skill.

    Without demonstrations the base is taken as it is. Several processes learn together, from the
    batches that one process would have.
    """

    name: ClassVar[str] = "cold_start"
    needs: ClassVar[tuple[str, ...]] = ("base",)
    together: ClassVar[bool] = True

    def check(self, run: Run) -> None:
        """Look for the policy or run that demonstrates, and have TRL look at `[sft]`."""
        table = run.recipe.demonstrations
        if table is None:
            return
        if table.policy not in (None, SELF):
            check_policy(str(table.policy))
        if table.run is not None:
            RunFolder.open(table.run)
        check_steps(run.recipe.sft, "[sft]", "remove [demonstrations] and [sft], or train longer")
        check_reporting(run.recipe.sft, "sft")
        settings = of_each_process(_settings(run), count())
        if PROCESSES not in os.environ:
            check_optimiser(sft_config(settings, run.recipe.seed, Path("sft")), "sft")

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """Who demonstrates, and what the demonstrations are played with."""
        table = run.recipe.demonstrations
        if table is not None:
            yield from of_play(run.recipe, run.demonstrated)
            yield from of_policies(None if table.policy == SELF else table.policy)

    def do(self, run: Run) -> None:
        """Write the model after its cold start into the run's folder."""
        place, recipe = run.place, run.recipe
        options, trains = recipe.model.options, recipe.demonstrations is not None
        switch = switched(recipe.rollout.chat_template_kwargs)
        model, processor = load_model(run.base, options if trains else options.whole, switch)
        if recipe.demonstrations is not None and run.demonstrated is not None:
            store = run.store
            student = local_model(model, processor, tool_form=recipe.tools.form)
            student.spec = "the base"
            shown = demonstrations(
                recipe.demonstrations,
                run.demonstrated,
                student,
                run.rules(run.demonstrated),
                run.sampling(),
                store,
                run.records,
                seed=run.seed("demonstrations"),
            )
            settings = of_each_process(_settings(run), count())
            with progress("cold start", int(settings.get("max_steps", 0)) or None) as advance:
                model = supervised(
                    model,
                    processor,
                    shown,
                    store.images.get,
                    settings,
                    seed=run.seed("sft"),
                    folder=place.imitation if "save_steps" in settings else None,
                    parts=recipe.model.adapt,
                    lora=recipe.sft.get("lora"),
                    on_step=_Losses(place.losses, advance) if is_first() else None,
                    what="cold start",
                    unquantized=partial(_whole, run) if options.quantization else None,
                )
        if not is_first():
            return
        save_whole_model(model, processor, place.cold_start)
        remove(place.imitation)

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The model after its cold start."""
        return (TrainedPolicy(self.name, "cold start", run.place.cold_start),)

    def panels(self, run: Run) -> Sequence[ReportPanel]:
        """The loss of each step, where there was anything to imitate."""
        if not run.place.losses.exists():
            return ()
        return (ReportPanel(partial(_draw_loss, read_lines(run.place.losses))),)


def _settings(run: Run) -> Keys:
    """`[sft]` without `[sft.lora]`, which is PEFT's."""
    return {key: value for key, value in run.recipe.sft.items() if key != "lora"}


def _whole(run: Run) -> "PreTrainedModel":
    return load_model(run.base, run.recipe.model.options.whole)[0]


def _draw_loss(steps: Sequence[Mapping[str, float]], axes: "Axes") -> None:
    axes.plot([each["step"] for each in steps], [each["loss"] for each in steps], color="#888888")
    axes.set(title="Cold start", xlabel="SFT step", ylabel="loss on the policy's tokens")
    axes.set_ylim(bottom=0)


class _Losses:
    """Writes one JSON line for each step of the cold start, and moves the progress bar.

    Lines of steps that a resumed run takes again are dropped.
    """

    def __init__(self, path: Path, advance: Advance) -> None:
        self._path = path
        self._advance = advance
        self._begun = False

    def __call__(self, step: int, logs: dict[str, float]) -> None:
        if not self._begun:
            self._begun = True
            rows = read_lines(self._path) if self._path.exists() else []
            kept = [json.dumps(row) + "\n" for row in rows if row["step"] < step]
            write_atomic(self._path, "".join(kept).encode())
        append_line(self._path, json.dumps({"step": step} | logs))
        self._advance(1, loss=logs["loss"])
