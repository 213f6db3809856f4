"""Of a suite: tables of what is measured of answers of one type only, such as reports."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from medgym.commands.printing import percent
from medgym.judge import Judgement
from medgym.metrics.rate import Rate

from .outcomes.report_answers import ROUGE, SCORE, TRIPLETS, corpus_bleu
from .scorers.report import by_words

Rows = list[tuple[str, ...]]
Headings = tuple[str, ...]

REPORTS: Headings = (
    "reports", "cases", "statements", "triplet F1", "95 % interval", "ROUGE-L", "BLEU",
)  # fmt: skip


def report_rows(judgements: Mapping[str, Judgement]) -> Rows:
    """One row for each benchmark that asks for reports. BLEU names its tokenizer."""
    found: Rows = []
    for name, judgement in judgements.items():
        score = judgement.metrics.get(SCORE)
        if not isinstance(score, Rate):
            continue
        triplets, rouge = (judgement.metrics.get(each) for each in (TRIPLETS, ROUGE["rouge_l"]))
        bleu = [
            f"{_share(value)} ({tokenizer})"
            for tokenizer in ("13a", "zh", "char", "intl")
            if (value := judgement.metrics.get(corpus_bleu(tokenizer))) is not None
        ]
        found.append((
            name, str(score.n), percent(score.value), _share(triplets), _bounds(triplets),
            _share(rouge), ", ".join(bleu) or "-",
        ))  # fmt: skip
    return found


def _share(value: Rate | float | None) -> str:
    return percent(value.value) if isinstance(value, Rate) else "-"


def _bounds(value: Rate | float | None) -> str:
    if not isinstance(value, Rate):
        return "-"
    return f"{100 * value.low:.1f} to {100 * value.high:.1f}"


TABLES: Sequence[tuple[Headings, Callable[[Mapping[str, Judgement]], Rows]]] = (
    (REPORTS, report_rows),
)
"""The headings of each table, and what makes its rows."""


def missing_lines(figures: Iterable[Container[str]]) -> list[str]:
    """What is not measured because a library is not installed, a line each."""
    every = list(figures)
    lines = []
    if any(SCORE in each for each in every) and not by_words.is_installed():
        lines.append(by_words.MISSING)
    return lines
