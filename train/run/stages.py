"""A training run from a recipe, from top to bottom: its stages, in order, each done once.

Everything random is seeded from the recipe's seed and its purpose, so that a run repeats. A new
algorithm is a folder with a `Stage` of its own, a line in `TRAINING` and its table in
`recipe.schema`. Judging and the report take from the stages what they judge and draw.
"""

import torch

from medgym.errors import UserError

from ..data.beginning import begin_first
from ..data.curriculum import CurriculumStage
from ..data.mixture import MixedCases
from ..dpo.stage import DpoStage
from ..grpo.stage import GrpoStage
from ..kto.stage import KtoStage
from ..recipe.outside import check_outside
from ..recipe.tables import check_tables
from ..sft.stage import ColdStartStage
from .base import BaseStage
from .fingerprint import PlugIn
from .judging import Figures, JudgingStage, write_results
from .opened import Run
from .overlap import ALLOWED, refuse
from .stage import Stage, do

START: tuple[Stage, ...] = (
    BaseStage(),  # the base model, made where it is the built-in one
    ColdStartStage(),  # [demonstrations], [sft]: imitation, by SFT
)
"""How every training begins, also that of a consultation."""

TRAINING: tuple[Stage, ...] = (
    *START,
    DpoStage(),  # [dpo], [pairs], [lora]: preferences between whole episodes
    KtoStage(),  # [kto], [pairs], [lora]: single episodes, right or wrong
    CurriculumStage(),  # [curriculum]: which cases, in which order
    GrpoStage(),  # [grpo], [lora]: reinforcement learning on whole episodes
)
"""How a single policy is trained."""

STAGES: tuple[Stage, ...] = (
    *TRAINING,
    JudgingStage(TRAINING),  # [cases] test: every policy of the run on held-out cases
)


def check(run: Run, stages: tuple[Stage, ...] = STAGES) -> None:
    """Look for what a run lacks, before anything is written.

    Raises:
        UserError: nothing to train, tables that have no effect, cases that are not there, have no
            gold or are both learned from and judged by, an unknown tool, a view size that the
            cases forbid, a missing model or GPU, or settings that a library refuses.
    """
    recipe = run.recipe
    check_tables(recipe)
    check_outside(recipe)
    if recipe.seed < 0:
        raise UserError(f"the seed is {recipe.seed}; fix: give one of 0 or more")
    if recipe.model.gpu and not torch.cuda.is_available():
        raise UserError(
            f"the recipe {recipe.name} needs a GPU and there is none; fix: run it where there is "
            "one, or set [model] gpu = false"
        )
    for cases in run.opened():
        cases.check()
        if isinstance(cases, MixedCases) and recipe.rollout.view_size is None:
            cases.check_view_sizes()
        for part in cases.parts:
            begin_first(part, run.rules(cases))
    if recipe.cases.overlap != ALLOWED:
        refuse(run.overlaps)
    done = run.place.stages()  # a resumed run needs no more what these were made from
    for stage in stages:
        if stage.wanted(run) and stage.name not in done:
            stage.check(run)


def plug_ins(run: Run, stages: tuple[Stage, ...] = STAGES) -> dict[str, tuple[PlugIn, ...]]:
    """The plug-ins that each stage of a run uses, by the stage's name."""
    return {each.name: tuple(each.plug_ins(run)) for each in stages if each.wanted(run)}


def train(run: Run) -> Figures:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    if run.recipe.model.build is not None:
        # So small a model gains nothing from a second thread, and one thread rounds alike anywhere.
        torch.set_num_threads(1)
    do(STAGES, run)
    return write_results(run)
