"""The run of a consultation's training, from its first stage to its judging.

Every stage is done once, as in `run.stages`; each role resumes from its own last checkpoint.
"""

from functools import partial

import torch

from medgym.consultation.role import SINGLE, SPECIALIST, TRIAGE

from ..run.judging import Figures, write_figures, write_results
from ..run.opened import Run
from ..run.processes import is_first
from ..run.stage import do, once
from ..run.stages import START
from .judging import judged
from .training import Training


def run_consultation(run: Run) -> Figures:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    training, recipe, place = Training(run), run.recipe, run.place
    if recipe.model.build is not None:
        torch.set_num_threads(1)  # as for a single policy

    do(START, run)
    for number in range(recipe.marl.rounds):
        mark = f" {number + 1}" if recipe.marl.rounds > 1 else ""
        # By outcome, triage is rewarded for what the specialists know: they learn first.
        if SPECIALIST in training.trained:
            learn = partial(training.specialists, number)
            once(place, f"specialists{mark}", learn, together=True)
        if TRIAGE in training.trained:
            if recipe.marl.triage_reward == "outcome":
                play = partial(training.outcomes, number)
                once(place, f"outcomes{mark}", play, together=True)
            once(place, f"triage{mark}", partial(training.triage, number), together=True)
        once(place, f"opinions{mark}", partial(training.opinions, number), together=True)
        once(place, f"attending{mark}", partial(training.attending, number), together=True)
    if recipe.marl.single:
        once(place, SINGLE, training.single, together=True)

    def judge() -> None:
        if is_first():
            training.describe()
        with training.policies() as policies:
            write_figures(judged(training, policies), place)

    once(place, "judge", judge, together=True)
    return write_results(run)
