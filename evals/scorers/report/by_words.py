"""How many words a report shares with a gold one: BLEU by sacrebleu, ROUGE by rouge-score.

How a text is cut into words depends on its language:

- English: tokenizer 13a of sacrebleu (that of WMT), and rouge-score's own without stemming.
- Chinese: tokenizer zh, which takes each sign by itself.
- Japanese, Korean, Thai: tokenizer char.
- Any other, Vietnamese among them: tokenizer intl. Vietnamese is written with a blank between its
  syllables, so that these are the words.

rouge-score's own tokenizer drops every letter that is not of English, so that a Chinese report
shares nothing with itself. In other languages than English it is given words as `tokens_of` cuts
them: a word, or one Chinese sign.

Both reward length and stock phrases, and neither knows "no". They decide nothing: what is right is
said by statements. They are there for comparison with papers.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from medgym.cases import Case

from ..words import tokens_of
from .language import ENGLISH, language_of

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

_SIGNS = frozenset(("ja", "ko", "th", "lo", "km", "my"))

MISSING = (
    "BLEU and ROUGE of reports are left out: they need sacrebleu and rouge-score; "
    "fix: pip install 'medgym[metrics]'"
)


@dataclass(frozen=True)
class SharedByWords:
    """What a report shares with its golds, each from 0 to 1.

    Attributes:
        bleu: of this report by itself, with the effective order.
        counts: what the BLEU of many reports together is made of: right and all n-grams of the
            orders 1 to 4, the length, and the gold's length.
        tokenizer: how sacrebleu cut the words. signature: its own, which a paper should name.
        rouge1, rouge2, rouge_l: F1 of single words, of pairs, and of the longest common sequence.
    """

    bleu: float
    counts: tuple[int, ...]
    tokenizer: str
    signature: str
    rouge1: float
    rouge2: float
    rouge_l: float


def is_installed() -> bool:
    """Whether the libraries of the extra `metrics` are there."""
    return all(importlib.util.find_spec(name) for name in ("sacrebleu", "rouge_score"))


def by_words(case: Case, answer: str) -> SharedByWords:
    """Compare a report with a case's golds; of several ROUGE takes the best, BLEU takes all."""
    language = language_of(case)
    named = tokenizer_of(language)
    metric = bleu(named)
    golds = list(case.golds)
    found = metric.corpus_score([answer], [[gold] for gold in golds])
    one = bleu(named, effective=True).sentence_score(answer, golds)
    rouge = _rouge(language == ENGLISH).score_multi(golds, answer)
    return SharedByWords(
        bleu=min(1.0, one.score / 100),
        counts=(*map(int, found.counts), *map(int, found.totals), found.sys_len, found.ref_len),
        tokenizer=named,
        signature=str(metric.get_signature()),
        rouge1=rouge["rouge1"].fmeasure,
        rouge2=rouge["rouge2"].fmeasure,
        rouge_l=rouge["rougeL"].fmeasure,
    )


def tokenizer_of(language: str) -> str:
    """The name of sacrebleu's tokenizer for a language."""
    if language == ENGLISH:
        return "13a"
    if language == "zh":
        return "zh"
    return "char" if language in _SIGNS else "intl"


def bleu_of(counts: Sequence[float], tokenizer: str) -> float:
    """The BLEU, from 0 to 1, of reports whose counts are added up."""
    metric = bleu(tokenizer)
    right, total, (length, gold) = counts[:4], counts[4:8], counts[8:]
    found = metric.compute_bleu(
        [int(each) for each in right],
        [int(each) for each in total],
        int(length),
        int(gold),
        smooth_method=metric.smooth_method,
        smooth_value=metric.smooth_value,
    )
    return min(1.0, float(found.score) / 100)


@cache
def bleu(tokenizer: str, effective: bool = False) -> "BLEU":
    """sacrebleu's metric with a tokenizer; BLEU-4 with exponential smoothing, its default."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=effective)


class _Words:
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return tokens_of(text)


@cache
def _rouge(english: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=None if english else _Words())
