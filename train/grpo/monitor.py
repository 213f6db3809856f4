"""What training measures every so many steps, beside what it optimises.

Does the policy see (`sight`), do sampler and trainer agree on what was sampled (`agreement`), and
what does it earn when its tools show it another case (`exchanged`)? A policy that goes blind may
earn as much as before; so blindness stops the run, by name.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from medgym.cases import Case
from medgym.episode import Rules
from medgym.local_model import LocalModel
from medgym.metrics.counterfactual import exchanged
from medgym.metrics.sight import agreement, sight
from medgym.trajectory import Trajectory

from ..recipe.schema import SightTable
from .blindness import BlindnessCheck

if TYPE_CHECKING:
    from transformers import TrainerState

CASES = 8
"""Cases that are measured, one episode of each, with three forward passes each."""

EPISODES = 16
"""Episodes that are played with exchanged views, of the same cases."""


class Player(Protocol):
    """What plays the episodes that are looked into, such as a `LookingTrainer`.

    Attributes:
        local: the model in training, as a policy.
        pictures: the images that the episodes showed, by content hash.
    """

    local: LocalModel

    @property
    def state(self) -> "TrainerState":
        """Of the trainer."""

    @property
    def pictures(self) -> Mapping[str, Any]:
        """See above."""

    def rules_now(self) -> Rules:
        """The rules of this step's episodes."""

    def played(
        self, cases: Sequence[Case], rules: Rules, *purpose: object
    ) -> list[tuple[Case, Trajectory]]:
        """Episodes of some cases by the present policy."""


class SightMonitor:
    """Measures every so many steps; what `LookingTrainer` takes as `monitor`.

    Args:
        table: how often, and what counts as blind.
        temperature: at which replies are sampled.
    """

    def __init__(self, table: SightTable, temperature: float) -> None:
        self._every = table.every
        self._blindness = BlindnessCheck(table.floor, table.patience)
        self._temperature = temperature
        self._seen = -1

    def __call__(
        self, trainer: Player, played: Sequence[tuple[Case, Trajectory]]
    ) -> Mapping[str, float]:
        """The figures of a step; none between two looks.

        Raises:
            Blind: the policy does not see.
        """
        step = trainer.state.global_step
        # A step may generate several times, and is one look all the same.
        if not self._every or step % self._every or step == self._seen:
            return {}
        self._seen = step
        first = list({case.id: (case, trajectory) for case, trajectory in played}.values())[:CASES]
        seen = sight(trainer.local, first, trainer.pictures)
        self._blindness.see(seen, first=step == 0)
        agrees = agreement(trainer.local, first, trainer.pictures, temperature=self._temperature)
        return {**seen.figures(), **agrees.figures(), **_exchanged(trainer, first)}


def _exchanged(trainer: Player, played: Sequence[tuple[Case, Trajectory]]) -> Mapping[str, float]:
    """The mean reward of the same cases when tools show another one's images, where that can be."""
    rules = trainer.rules_now()
    cases = [case for case, _ in played for _ in range(max(1, EPISODES // len(played)))]
    if not rules.tools or len({case.group for case in cases}) < 2:
        return {}
    again = trainer.played(cases, exchanged(rules, cases), "exchanged")
    earned = [t.reward for _, t in again if t.reward is not None]
    return {"looking/exchanged_reward": sum(earned) / len(earned)} if earned else {}
