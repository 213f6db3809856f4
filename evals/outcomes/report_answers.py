"""Figures of reports: what they state, by triplets, and how they are worded, by BLEU and ROUGE."""

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from medgym.metrics.rate import Rate

from ..scorers.report.by_words import bleu_of
from ..statistics.groups import Floats
from ..statistics.intervals import mean_interval
from ..statistics.sums import figure_interval
from .outcome import CaseOutcome
from .shares import as_share

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

Key = tuple[str, str, int]


def corpus_bleu(tokenizer: str) -> str:
    """The name of BLEU's figure; reports in other tokenizers have another figure."""
    return f"report, corpus BLEU ({tokenizer})"


def report_figures(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    """The figures of the cases that ask for a report; nothing where there is none.

    Intervals are over groups. BLEU is of all reports together, one figure for each tokenizer; the
    other figures are means over reports. A report that was not written shares nothing.
    """
    found: dict[str, list[tuple[Key, Hashable, float]]] = {}
    counts: dict[str, list[tuple[Key, Hashable, Sequence[int]]]] = {}
    for each in outcomes:
        if each.scorer != "report" or not each.is_counted:
            continue
        for name, column in COLUMNS.items():
            if (value := getattr(each, column)) is not None:
                found.setdefault(name, []).append((each.key, each.unit, float(value)))
        if each.bleu_signature and each.bleu_counts:
            of = counts.setdefault(tokenizer_in(each.bleu_signature), [])
            of.append((each.key, each.unit, each.bleu_counts))
    figures = {}
    for name in COLUMNS:
        if values := sorted(found.get(name, []), key=lambda row: row[0]):
            figures[name] = as_share(mean_interval([v for *_, v in values], _units(values)))
    for tokenizer in sorted(counts):
        figures[corpus_bleu(tokenizer)] = _bleu(counts[tokenizer], tokenizer)
    return figures


def tokenizer_in(signature: str) -> str:
    """The tokenizer that a signature of sacrebleu names."""
    parts = (part.partition(":") for part in signature.split("|"))
    return next((value for key, _, value in parts if key == "tok"), "")


def _bleu(counts: Sequence[tuple[Key, Hashable, Sequence[int]]], tokenizer: str) -> Rate:
    ordered = sorted(counts, key=lambda row: row[0])
    columns = np.array([each for *_, each in ordered], dtype=np.float64).T

    def figure(sums: Floats) -> Floats:
        return np.array([bleu_of(row.tolist(), tokenizer) for row in sums])

    return as_share(figure_interval(columns.tolist(), _units(ordered), figure))


def _units(rows: Sequence[tuple[Key, Hashable, object]]) -> list[Hashable]:
    return [unit for _, unit, _ in rows]
