"""Of a suite: tables of what is measured of answers of one type only, such as reports."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from medgym.commands.printing import percent
from medgym.judge import Judgement
from medgym.metrics.rate import Rate

from .outcomes.answers.number_answers import RELATIVE, WITHIN
from .outcomes.answers.region_answers import DICE, IOU, MAP, hd95, nsd
from .outcomes.answers.report_answers import ROUGE, SCORE, TRIPLETS, corpus_bleu
from .scorers.region import detection, surface
from .scorers.report import by_words
from .tables import bounds

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


NUMBERS: Headings = ("numbers", "cases", "relative accuracy", "95 % interval", "within 10 %")


def number_rows(judgements: Mapping[str, Judgement]) -> Rows:
    """One row for each benchmark that asks for numbers."""
    found: Rows = []
    for name, judgement in judgements.items():
        near, within = (judgement.metrics.get(each) for each in (RELATIVE, WITHIN))
        if isinstance(near, Rate):
            found.append((name, str(near.n), percent(near.value), _bounds(near), _share(within)))
    return found


REGIONS: Headings = ("regions", "cases", "IoU", "95 % interval", "Dice", "HD95", "NSD", "mAP")


def region_rows(judgements: Mapping[str, Judgement]) -> Rows:
    """One row for each benchmark that asks for regions."""
    found: Rows = []
    for name, judgement in judgements.items():
        metrics = judgement.metrics
        iou = metrics.get(IOU)
        if not isinstance(iou, Rate):
            continue
        units = [unit for unit in ("mm", "pixels") if hd95(unit) in metrics]
        far = [_number(metrics[hd95(unit)], f" {unit}") for unit in units]
        near = [_share(metrics.get(nsd(unit))) for unit in units]
        found.append((
            name, str(iou.n), percent(iou.value), _bounds(iou), _share(metrics.get(DICE)),
            ", ".join(far) or "-", ", ".join(near) or "-", _share(metrics.get(MAP)),
        ))  # fmt: skip
    return found


def _number(value: Rate | float, unit: str) -> str:
    return f"{value.value if isinstance(value, Rate) else value:.1f}{unit}"


def _share(value: Rate | float | None) -> str:
    return percent(value.value) if isinstance(value, Rate) else "-"


def _bounds(value: Rate | float | None) -> str:
    return bounds(value) if isinstance(value, Rate) else "-"


TABLES: Sequence[tuple[Headings, Callable[[Mapping[str, Judgement]], Rows]]] = (
    (REPORTS, report_rows),
    (NUMBERS, number_rows),
    (REGIONS, region_rows),
)
"""The headings of each table, and what makes its rows."""


def missing_lines(figures: Iterable[Container[str]]) -> list[str]:
    """What is not measured because a library is not installed, a line each."""
    every = list(figures)
    lines = []
    if any(SCORE in each for each in every) and not by_words.is_installed():
        lines.append(by_words.MISSING)
    if any(IOU in each for each in every):
        needed = {
            "HD95 and NSD of regions": surface.is_installed() or "surface-distance",
            "average precision of boxes": detection.is_installed() or "pycocotools",
        }
        lines += [
            f"{what} left out: needs {package}; fix: pip install 'medgym[metrics]'"
            for what, package in needed.items()
            if package is not True
        ]
    return lines
