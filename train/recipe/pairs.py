"""`[pairs]`: which pairs of episodes a policy learns preferences from."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PairsTable(BaseModel):
    """`[pairs]`: pairs that were built before, or what they are made of.

    With neither `folder` nor `run`, the policy after its cold start plays the cases itself.

    Attributes:
        folder: of pairs, as `medgym pairs build` writes it.
        run: the folder of a run whose stored groups the pairs are made of.
        cases: a case spec: which cases are played, or used of the run; by default those of
            `[cases] train`.
        samples: episodes of each case that are played.
        make: builders' specs, such as `["outcome", "looking"]`, or a table of them with weights:
            the share of all pairs that is made by each, as far as it has so many.
        most: pairs of one case.
        weight: what a pair counts in the loss: `uniform`, or 1 plus the z-score of its `score` or
            its `margin` (by how much the chosen episode earned more), from 0.5 to 1.5.
        judges: specs of policies that score how relevant each pair is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str | None = None
    run: str | None = None
    cases: str | None = None
    samples: int = Field(default=8, ge=2)
    make: tuple[str, ...] | dict[str, Share] = ("outcome",)
    most: int = Field(default=8, ge=1)
    weight: Literal["uniform", "score", "margin"] = "uniform"
    judges: tuple[str, ...] = ()

    def fault(self) -> str | None:
        """What is wrong with the table, and how to fix it; None where nothing is."""
        if self.folder is not None:
            for name in ("run", "cases", "samples", "make", "most", "judges"):
                if name in self.model_fields_set:
                    return f"[pairs] {name} has no effect beside folder; fix: remove one of them"
        if self.run is not None and "samples" in self.model_fields_set:
            return "[pairs] samples has no effect beside run; fix: remove one of them"
        if not self.make:
            return '[pairs] make names no builder; fix: name one, such as "outcome"'
        return None
