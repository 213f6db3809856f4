"""What a sentence about a phantom claims, and how severe each wrong claim is.

Only a small vocabulary is read: a lesion and whether there is one, its texture, its half of the
image, its length, how many there are, the type of image, and the organ. A sentence that says none
of it has no claims, and no level.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from medgym.sources.phantom.modalities import KINDS
from medgym.sources.phantom.settings import SIDES
from medgym.sources.phantom.studies.textures import KINDS as STUDY_KINDS

from .levels import ATTRIBUTE, CATASTROPHIC, CORRECT, CRITICAL, MINOR, worst
from .phantom_facts import PhantomFacts


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


_LESION = _words("lesions?", "mass(?:es)?", "abnormalit(?:y|ies)", "nodules?", "tumou?rs?")
_NOT = _words(
    "no", "not", "without", "absent", "absence of", "free of", "negative for", "neither", "nor",
    "none", "never", "nothing", r"\w+n't", "rather than", "instead of",
)  # fmt: skip
_NORMAL = _words("normal", "unremarkable", "healthy")
_BUT = re.compile(
    r"\bbut\b|\bhowever\b|\bwhile\b|\bwhereas\b|[;:]"
    r"|(?:,|\band\b)\s*(?=not\b)|\s(?=rather than\b|instead of\b)",
    re.IGNORECASE,
)
_PARTICLE = re.compile(r"^\W*(?:yes|no)\s*[,.;:!]\s*", re.IGNORECASE)
_KIND = _words(*dict.fromkeys((*KINDS, *STUDY_KINDS)))
_SIDE = _words(*SIDES)
_PLACED = re.compile(
    r"\b(?:it|lies?|located|situated)\b|^\W*(?:in |on )?(?:the )?\w+(?: half| side)?\W*$", re.I
)
_COUNTED = re.compile(r"\b(a single|one|two|three|four|five|six|\d{1,2})\s+lesions?\b", re.I)
_NUMBERS = {"a single": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_UNIT = r"\s*(mm|cm)\b"
_NUMBER = r"(\d+(?:\.\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}(?:\s*(?:mm|cm))?\s*(?:-|–|to|and)\s*{_NUMBER}{_UNIT}", re.I)
_BOUND = re.compile(
    rf"\b(under|below|less than|at most|over|above|more than|at least)\s+{_NUMBER}{_UNIT}", re.I
)
_LENGTH = re.compile(rf"{_NUMBER}{_UNIT}", re.I)
_BELOW = ("under", "below", "less than", "at most")

MODALITIES: Mapping[str, re.Pattern[str]] = {
    "DX": _words("radiographs?", "x-?rays?"),
    "CT": _words("ct", "computed tomograph(?:y|ic)"),
    "OP": _words(r"fundus (?:photo\w*|images?)", r"retinal photo\w*"),
    "SM": _words(r"histolog\w+", "microscopic", "whole slide images?"),
    "MR": _words("mri?", "magnetic resonance"),
    "US": _words("ultrasound", r"sonogra\w+"),
}
BODY_PARTS: Mapping[str, re.Pattern[str]] = {
    "CHEST": _words("chest", "thorax", "lungs?"),
    "ABDOMEN": _words("abdomen", "abdominal", "liver"),
    "EYE": _words("eye", "retina", "retinal"),
    "SKIN": _words("skin", "dermis"),
    "BRAIN": _words("brain", "cranial", "skull"),
    "BREAST": _words("breast", r"mammogra\w+"),
}


def sentences(text: str) -> list[str]:
    """The sentences of a text; lines are apart, and what has no letter is none."""
    parts = re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n+", text)
    return [part.strip() for part in parts if re.search(r"[^\W\d_]", part)]


def clauses(sentence: str) -> list[str]:
    """The parts of a sentence on the two sides of a "but", a semicolon or a colon, and before what
    it says is not so ("banded, not oblique"), without the yes or no with which it begins."""
    return _BUT.split(_PARTICLE.sub("", sentence, count=1))


@dataclass(frozen=True)
class Aspects:
    """What a clause speaks of.

    Attributes:
        is_of_lesion: whether it speaks of a lesion. denied: whether it negates.
        kinds, sides: the textures and the halves that it names. length: whether it names one.
    """

    is_of_lesion: bool
    denied: bool
    kinds: frozenset[str]
    sides: frozenset[str]
    length: bool


def aspects(clause: str) -> Aspects:
    """What a clause speaks of."""
    kinds = frozenset(each.lower() for each in _KIND.findall(clause))
    sides = frozenset(each.lower() for each in _SIDE.findall(clause))
    length = _LENGTH.search(clause) is not None and "wide" not in clause.lower()
    is_placed = bool(sides) and _PLACED.search(clause) is not None
    is_of_lesion = bool(_LESION.search(clause) or kinds or length or is_placed)
    return Aspects(is_of_lesion, _NOT.search(clause) is not None, kinds, sides, length)


def sentence_level(sentence: str, facts: PhantomFacts) -> str | None:
    """The level of a sentence: that of its worst claim; None where it claims nothing."""
    return worst(level for clause in clauses(sentence) for level in claim_levels(clause, facts))


def claim_levels(clause: str, facts: PhantomFacts) -> Iterator[str]:
    """The level of each claim of a clause.

    A texture, a half, a length or a number is said of a lesion, so it also claims that there is
    one. In a clause that negates, it says that there is no such lesion.
    """
    said = aspects(clause)
    if said.is_of_lesion:
        if said.denied:
            yield _denied(facts, said.kinds, said.sides)
        else:
            yield from _affirmed(clause, facts, said)
    elif _NORMAL.search(clause):
        if said.denied:  # "not normal"
            yield CORRECT if facts.lesions else CATASTROPHIC
        else:
            yield _denied(facts, frozenset(), said.sides)
    if not said.denied:  # "no lesion of the lung" does not say which organ is shown
        yield from _of_image(clause, facts)


def _denied(facts: PhantomFacts, kinds: frozenset[str], sides: frozenset[str]) -> str:
    """The level of saying that there is no lesion, of some texture, or in some half."""
    if not kinds and not sides:
        return CATASTROPHIC if facts.lesions else CORRECT
    is_such = any(
        (not kinds or each.kind in kinds) and (not sides or each.side in sides)
        for each in facts.lesions
    )
    return CRITICAL if is_such else CORRECT


def _affirmed(clause: str, facts: PhantomFacts, said: Aspects) -> Iterator[str]:
    """The levels of saying that there is a lesion, and what it is like."""
    if not facts.lesions:
        yield CATASTROPHIC
        return
    yield CORRECT
    if said.kinds - facts.kinds:
        yield CRITICAL
    if said.sides - facts.sides:
        yield ATTRIBUTE
    lengths = (_holds(clause, each.length_mm, facts.slack_mm) for each in facts.lesions)
    if said.length and not any(lengths):
        yield ATTRIBUTE
    counted = _COUNTED.search(clause)
    if counted is not None:
        number = _NUMBERS.get(counted[1].lower())
        if (int(counted[1]) if number is None else number) != len(facts.lesions):
            yield ATTRIBUTE


def _of_image(clause: str, facts: PhantomFacts) -> Iterator[str]:
    for names, true, level in (
        (MODALITIES, facts.modality, MINOR),
        (BODY_PARTS, facts.body_part, CATASTROPHIC),
    ):
        named = {name for name, words in names.items() if words.search(clause)}
        if named:
            yield CORRECT if true in named else level


def _holds(clause: str, length_mm: float, slack_mm: float) -> bool:
    """Whether a length lies in what a clause says of it: a range, a bound, or a number."""
    if found := _RANGE.search(clause):
        low, high = (float(found[i]) * _in_mm(found[3]) for i in (1, 2))
        return low <= length_mm <= high
    if found := _BOUND.search(clause):
        bound = float(found[2]) * _in_mm(found[3])
        return length_mm <= bound if found[1].lower() in _BELOW else length_mm >= bound
    if found := _LENGTH.search(clause):
        return abs(float(found[1]) * _in_mm(found[2]) - length_mm) <= slack_mm
    return False


def _in_mm(unit: str) -> float:
    return 10.0 if unit.lower() == "cm" else 1.0
