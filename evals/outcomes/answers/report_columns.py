"""What the table of outcomes holds of a report."""

from typing import TypedDict

from medgym.cases import Case
from medgym.trajectory import Trajectory

from ...scorers.report.by_words import by_words, is_installed
from ...scorers.report.language import ENGLISH, language_of
from ...scorers.report.scorer import shared_triplets
from ...scorers.report.triplets import read
from ..answer_text import answer_text


class ReportColumns(TypedDict, total=False):
    """What `CaseOutcome` holds of a report."""

    triplet_precision: float
    triplet_recall: float
    triplet_f1: float
    bleu: float
    bleu_counts: list[int]
    bleu_signature: str
    rouge1: float
    rouge2: float
    rouge_l: float


def report_columns(case: Case, trajectory: Trajectory) -> ReportColumns:
    """What a case's report shares with its golds; nothing of any other case, nor of one whose
    machinery failed.

    Triplets are there for English only, and where a gold has one. BLEU and ROUGE are there where
    their libraries are.
    """
    if case.answer_type != "report" or case.options or trajectory.failure is not None:
        return {}
    answer = answer_text(case, trajectory)
    found = ReportColumns()
    if language_of(case) == ENGLISH:
        said = read(answer)
        each = [shared_triplets(said, gold) for gold in map(read, case.golds) if gold.triplets]
        if each:
            best = max(each, key=lambda shared: shared.f1)
            found["triplet_precision"] = best.precision
            found["triplet_recall"] = best.recall
            found["triplet_f1"] = best.f1
    if is_installed():
        words = by_words(case, answer)
        found["bleu"] = words.bleu
        found["bleu_counts"] = list(words.counts)
        found["bleu_signature"] = words.signature
        found["rouge1"], found["rouge2"] = words.rouge1, words.rouge2
        found["rouge_l"] = words.rouge_l
    return found
