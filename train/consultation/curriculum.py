"""C-MARL: the attending's curriculum, by how many of the specialists are right about a case.

MMedAgent-RL (arXiv 2506.00555) calls the share s of right opinions a case's difficulty: easy where
s = 1 (learn to trust), medium in between (arbitrate), hard where s = 0 (overrule), and trains in
that order with an entropy bonus that grows: J = J_GRPO + gamma_s H, gamma_easy ~ 0 < gamma_medium <
gamma_hard. Its values of gamma are not public; ours are options. So is `rehearse`: a share of every
stage's cases comes from the other difficulties. Without it the last stage teaches to overrule all
opinions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgym.cases import Case
from medgym.consultation.opinions import Opinion
from medgym.errors import UserError
from medgym.seeds import seed_of

from ..recipe.schema import StageTable

if TYPE_CHECKING:
    from ..grpo.trainer import LookingTrainer

Difficulty = Literal["easy", "medium", "hard"]
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")


def difficulty(case: Case, opinions: Sequence[Opinion]) -> Difficulty:
    """By the share of right opinions; a case without any right opinion is hard."""
    right = [opinion.answer in case.golds for opinion in opinions]
    if not any(right):
        return "hard"
    return "easy" if all(right) else "medium"


def staged(
    cases: Sequence[tuple[Case, Difficulty]],
    stages: Sequence[StageTable],
    *,
    steps: int,
    groups: int,
    rehearse: float,
    seed: int,
) -> tuple[list[Case], list[float]]:
    """The order of training, and the weight of the entropy bonus at each step.

    Args:
        cases: with their difficulties.
        stages: in their order; their shares of the `steps` add up to 1.
        groups: cases of a step.
        rehearse: share of a stage's cases that are of another difficulty.

    Returns:
        `steps * groups` cases (some more than once, where a difficulty has too few), and `steps`
        weights.

    Raises:
        UserError: a stage asks for cases of a difficulty of which there is none.
    """
    order: list[Case] = []
    weights: list[float] = []
    ends = np.round(np.cumsum([stage.share for stage in stages]) * steps).astype(int)
    for number, (stage, end) in enumerate(zip(stages, ends, strict=True)):
        count = int(end) - len(weights)
        rng = np.random.default_rng(seed_of(seed, "stage", number))
        own = [case for case, hard in cases if hard == stage.difficulty]
        other = [case for case, hard in cases if hard != stage.difficulty]
        if count and not own:
            raise UserError(
                f"no case is {stage.difficulty} by these specialists; fix: remove that stage, "
                "or ask other specialists"
            )
        again = round(rehearse * count * groups) if other else 0
        stage_cases = [*_dealt(own, count * groups - again, rng), *_dealt(other, again, rng)]
        order += [stage_cases[int(i)] for i in rng.permutation(len(stage_cases))]
        weights += [stage.entropy] * count
    return order, weights


def _dealt(cases: Sequence[Case], count: int, rng: np.random.Generator) -> list[Case]:
    """So many of the cases; none is repeated before all were dealt."""
    dealt: list[Case] = []
    while len(dealt) < count:
        dealt += [cases[int(i)] for i in rng.permutation(len(cases))[: count - len(dealt)]]
    return dealt


class Entropy(TrainerCallback):
    """Gives each step of a trainer its weight of the entropy bonus."""

    def __init__(self, weights: Sequence[float], trainer: "LookingTrainer") -> None:
        self._weights = weights
        self._trainer = trainer

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Set the weight of the step that begins."""
        step = min(int(state.global_step), len(self._weights) - 1)
        self._trainer.entropy_coef = self._weights[step]
