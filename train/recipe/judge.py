"""`[judge]`: whether, how often and on which cases the policy is judged while it trains."""

from pydantic import BaseModel, ConfigDict, Field


class JudgeTable(BaseModel):
    """`[judge]`: evaluation during training, on held-out cases.

    Attributes:
        every: steps between two evaluations; 0 for none. The last step is evaluated as well.
        cases: a case spec, which shares no case with those of training and testing: a policy that
            is chosen by the cases of its test has no true result on them.
        best: whether the checkpoint with the best accuracy is published, in place of the last one.
        patience: evaluations in a row without a new best after which training stops; 0 for never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(default=0, ge=0)
    cases: str | None = None
    best: bool = False
    patience: int = Field(default=0, ge=0)

    def fault(self, is_consultation: bool) -> str | None:
        """What is wrong with the table, and how to fix it; None where nothing is."""
        if is_consultation and self.every:
            return "[judge] evaluates a single policy, not a consultation's roles; fix: remove it"
        if self.every and self.cases is None:
            return "[judge] has no cases; fix: set cases to held-out ones, not those of the test"
        if not self.every and (self.cases is not None or self.best or self.patience):
            return "[judge] evaluates never; fix: set every to a number of steps, or remove [judge]"
        if self.patience and not self.best:
            return "[judge] patience needs best = true; fix: add it, or remove patience"
        return None
