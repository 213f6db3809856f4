"""Losses by name, as the benchmark of preferences compares them: settings, and not classes.

A name is a known one, or terms joined by `+`, each with its weight where that is not 1:
`dpo+nll:0.2`. The formulae are in `loss`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from medgym.errors import UserError, unknown

from ..recipe.schema import Recipe
from .tables import TermsTable, Weight

TERMS = tuple(TermsTable.model_fields)

OWN = ("terms", "loss_type", "loss_weights")
"""The keys of `[dpo]` that say what the loss is."""


@dataclass(frozen=True)
class NamedLoss:
    """What a loss is, in a recipe's terms.

    Attributes:
        name: as it was asked for.
        terms: weights of `[dpo.terms]`.
        weight: of each pair, as `[pairs] weight`.
        noised: whether the rejected episodes are shown noise in the gold regions.
    """

    name: str
    terms: Mapping[str, float]
    weight: Weight = "uniform"
    noised: bool = False

    @property
    def role(self) -> str:
        """Under whose name a run keeps what it learns by this loss."""
        letters = (each if each.isalnum() else "-" for each in self.name)
        return "-".join(part for part in "".join(letters).split("-") if part)

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this loss in place of its own: TRL's is then the plain one of DPO."""
        dpo = {key: value for key, value in recipe.dpo.items() if key not in OWN}
        if not self.terms.get("image"):
            dpo.pop("images", None)
        terms = {term: self.terms.get(term, 0.0) for term in TERMS}
        return recipe.model_copy(update={"dpo": dpo | {"terms": terms}})


KNOWN = {
    "copo": NamedLoss("copo", {"image": 1.0}),
    "mdpo": NamedLoss("mdpo", {"dpo": 1.0, "image": 1.0, "anchor": 1.0}),
    "mmedpo": NamedLoss("mmedpo", {"dpo": 1.0}, "score", noised=True),
}
"""CoPO and mDPO (arXiv 2406.11839), MMedPO (arXiv 2412.06141)."""

DEFAULT = "dpo,dpo+nll,copo,mdpo,mmedpo"
"""The losses of the benchmark's released code (arXiv 2601.17918)."""


def read_losses(text: str) -> tuple[NamedLoss, ...]:
    """The losses that a text names, joined by commas.

    Raises:
        UserError: none is named, one twice, an unknown term, or a weight that is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"no loss is named; fix: name some, such as {DEFAULT}")
    found = tuple(KNOWN.get(name) or NamedLoss(name, _terms(name)) for name in names)
    roles = [loss.role for loss in found]
    for loss in found:
        if roles.count(loss.role) > 1:
            raise UserError(f"the loss {loss.name} is named twice; fix: name it once")
    return found


def _terms(name: str) -> dict[str, float]:
    terms: dict[str, float] = {}
    for part in name.split("+"):
        term, _, text = part.strip().partition(":")
        if term not in TERMS:
            raise unknown("loss", term, (*TERMS, *KNOWN))
        try:
            weight = float(text) if text else 1.0
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0) or term in terms:
            raise UserError(
                f"the loss {name!r} has no weight above 0 for {term}, or names it twice; fix: "
                "write TERM or TERM:WEIGHT, joined by +"
            )
        terms[term] = weight
    return terms
