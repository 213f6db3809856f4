"""Figures of reports: what they state, by triplets, and how they are worded, by BLEU and ROUGE."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter

import numpy as np

from medgym.metrics.groups import Floats
from medgym.metrics.rate import Rate

from ...scorers.report.by_words import bleu_of
from ...statistics.sums import figure_interval
from ..columns import NumberColumns
from ..outcome import CaseOutcome
from ..packed import PackedRows, in_order
from ..shares import Key, as_share, shares

SCORE = "report, F1 of statements"
PRECISION = "report, triplet precision"
RECALL = "report, triplet recall"
TRIPLETS = "report, triplet F1"
ROUGE = {"rouge1": "report, ROUGE-1", "rouge2": "report, ROUGE-2", "rouge_l": "report, ROUGE-L"}

COLUMNS = {
    SCORE: "score",
    PRECISION: "triplet_precision",
    RECALL: "triplet_recall",
    TRIPLETS: "triplet_f1",
    **{name: column for column, name in ROUGE.items()},
}
"""The figures that are means, and the columns of outcomes that they are means of."""


def corpus_bleu(tokenizer: str) -> str:
    """The name of BLEU's figure; reports in other tokenizers have another figure."""
    return f"report, corpus BLEU ({tokenizer})"


def report_figures(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    """The figures of the cases that ask for a report; nothing where there is none.

    Intervals are over groups. BLEU is of all reports together, one figure for each tokenizer; the
    other figures are means over reports. A report that was not written shares nothing.
    """
    counts: dict[str, PackedRows[tuple[Key, Hashable, Sequence[int]]]] = {}
    for each in outcomes:
        if each.scorer == "report" and each.is_counted and each.bleu_signature and each.bleu_counts:
            of = counts.setdefault(tokenizer_in(each.bleu_signature), PackedRows())
            of.add((each.key, each.unit, each.bleu_counts))
    values = {name: attrgetter(column) for name, column in COLUMNS.items()}
    bleu = {corpus_bleu(name): _bleu(rows, name) for name, rows in sorted(counts.items())}
    return shares(outcomes, "report", values) | bleu


def tokenizer_in(signature: str) -> str:
    """The tokenizer that a signature of sacrebleu names."""
    parts = (part.partition(":") for part in signature.split("|"))
    return next((value for key, _, value in parts if key == "tok"), "")


def _bleu(counts: Iterable[tuple[Key, Hashable, Sequence[int]]], tokenizer: str) -> Rate:
    rows = ((unit, *each) for _, unit, each in in_order(counts, key=itemgetter(0)))
    first = next(rows)
    ordered = NumberColumns(chain([first], rows), len(first) - 1)

    def figure(sums: Floats) -> Floats:
        return np.array([bleu_of(row.tolist(), tokenizer) for row in sums])

    return as_share(figure_interval([*ordered.values], ordered.groups(), figure))
