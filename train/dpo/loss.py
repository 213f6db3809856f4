"""The loss of pairs: TRL's own, and the terms that TRL lacks, from one pass through the model.

A batch has the chosen episodes, then the rejected ones, then, for the term `image`, the chosen ones
once more with other images. TRL's loss reads its outputs of the model that it is handed: here it is
handed `Outputs`, which has passed the whole batch through the model and gives TRL the rows that are
TRL's. So each of TRL's losses is computed by TRL, for all pairs or for one of them.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from ..sft.samples import IGNORED
from .tables import TermsTable

PAIR = "pair"
"""The column of a batch that says which pairs it holds; the model is not given it."""

_BY_ROW = ("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs")
"""What TRL's head gives for every token of every row."""

Batch = Mapping[str, torch.Tensor]


class Outputs:
    """What TRL takes for a model: it gives the outputs of some rows of a batch.

    Args:
        model: the batch is passed through it once.
        batch: as `PairBatches` makes it.
        router_logits: whether a mixture of experts gives its auxiliary loss.

    Attributes:
        all: of all rows.
        logps: of each row, the log-probability of its reply: the sum over the policy's tokens.
        tokens: of each row, how many these are.
    """

    def __init__(self, model: Any, batch: Batch, *, router_logits: bool = False) -> None:
        given = {n: value for n, value in batch.items() if n not in (PAIR, "completion_mask")}
        if router_logits:
            given["output_router_logits"] = True  # type: ignore[assignment]
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
        self.all = model(**given, use_cache=False, labels=labels, fused_lm_head=True)
        self.logps: torch.Tensor = self.all.log_probs.sum(dim=1)
        self.tokens = batch["completion_mask"][:, 1:].sum(dim=1).clamp(min=1)

    def of(self, rows: torch.Tensor) -> "SimpleNamespace":
        """The outputs of some rows."""
        found = {name: getattr(self.all, name, None) for name in _BY_ROW}
        return SimpleNamespace(
            **{name: value[rows] if value is not None else None for name, value in found.items()}
        )


def image_term(beta: float, chosen: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """CoPO, of each pair: the same words are to be likelier with their own images.

    Args:
        chosen, other: log-ratios of the chosen reply with its images, and with the other ones.
    """
    return -logsigmoid(beta * (chosen - other))


def anchor_term(beta: float, chosen: torch.Tensor) -> torch.Tensor:
    """mDPO's anchor, of each pair: the chosen reply is to become likelier than it was."""
    return -logsigmoid(beta * chosen)


def nll_term(logps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Of each pair the negative log-likelihood of the chosen reply, by its length."""
    return -logps / tokens


def further_terms(
    terms: TermsTable,
    beta: float,
    outputs: Outputs,
    references: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The terms beside TRL's loss, of each pair, by name; those of weight 0 are left out.

    Args:
        references: of shape (pairs, columns): the reference's log-probabilities of chosen and
            rejected replies and, with the term `image`, of the chosen ones with other images.
    """
    count = len(references)
    chosen = outputs.logps[:count] - references[:, 0]
    found = {}
    if terms.image:
        other = outputs.logps[2 * count :] - references[:, 2]
        found["image"] = image_term(beta, chosen, other)
    if terms.anchor:
        found["anchor"] = anchor_term(beta, chosen)
    if terms.nll:
        found["nll"] = nll_term(outputs.logps[:count], outputs.tokens[:count])
    return found
