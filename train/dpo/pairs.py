"""The pairs that a run's `[pairs]` names."""

from collections.abc import Sequence
from dataclasses import dataclass

from medgym.errors import UserError

from ..data.preferences.pair import Pair
from ..run.opened import Run
from ..sft.samples import GetImage
from .tables import Weight


@dataclass(frozen=True)
class Given:
    """Pairs, their images, and by what their losses are weighted."""

    pairs: Sequence[Pair]
    get_image: GetImage
    weight: Weight = "uniform"


def pairs_of(run: Run) -> Given:
    """The pairs of a run.

    Raises:
        UserError: there are none.
    """
    raise UserError(f"{run.recipe.name}: [dpo] has no pairs; fix: add [pairs]")
