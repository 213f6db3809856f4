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


_LESION = _words(
    "lesions?", "mass(?:es)?(?! effect)", "abnormalit(?:y|ies)", "nodules?", "tumou?rs?"
)
_NOT = _words(
    "no", "not", "without", "absent", "absence of", "free of", "negative for", "neither", "nor",
    "none", "never", "nothing", "cannot", "lacks?", "fails? to", "excluded", "ruled out",
    "unlikely", "zero", r"0(?!\s*(?:mm|cm|%)|[.,]\d)", r"\w+n't", "rather than", "instead of",
)  # fmt: skip
_SEEN = _words(
    "seen", "visible", "present", "there", "evident", "apparent", "found", "shown", "noted",
    "observed", r"identif\w+", r"detect\w+", r"demonstrat\w+",
    r"exist\w*", r"appreciat\w+", r"discern\w+", r"visuali[sz]\w+", r"recogni[sz]\w+",
)  # fmt: skip
_ARE_NOT = _words(
    "absent", "none", "zero", "0", "excluded", "ruled out", "unlikely", r"no(?=\W*$)"
)  # fmt: skip
_SOUND = re.compile(
    r"\b(?:no|without)\s+(?:(?:abnormal|pathological|significant|acute|focal)\s+)*"
    r"(?:findings?|pathology)\b|\bnothing (?:abnormal|pathological)\b",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"\b(?:(?:there is )?(?:no|without(?: any| a)?) (?:doubt|question)(?: that)?|not only)\b", re.I
)
_OPEN = re.compile(
    r"\?\s*$|\b(?:not|cannot|n't)\b.*\b(?:exclude|rule out|be (?:excluded|ruled out))\b", re.I
)
"""What asks, or leaves open: it claims nothing."""

_EXCEPT = re.compile(
    r"\b(?:other than|except(?: for)?|apart from|aside from|besides|beyond|outside(?: of)?)\b", re.I
)
_SAID_OF_IT = re.compile(
    r"(?<!evidence )(?<!sign )(?<!signs )(?<!trace )(?<!suggestion )(?<!indication )"
    r"\b(?:of|in|within|inside|around|near|beside|from|by|at|about|to) (?:the|this|that) (?:\w+ )?"
    r"(?:lesion|mass|nodule|tumou?r)\b",
    re.IGNORECASE,
)
"""A part or a neighbour of a lesion: who denies it says that the lesion is there."""

_OTHERS = _words(
    "other", "others", "otherwise", "further", "additional", "rest", "remain(?:ing|der)"
)
"""What is denied, or normal, beside what was said before: by itself that claims nothing."""

_PART = re.compile(
    r"\b(?:left|right) (?:side|part|edge|border|margin) of (?=(?:the|this|that) (?:\w+ )?lesion)",
    re.IGNORECASE,
)
"""Of a lesion, whose own sides are no halves of the image."""

_NORMAL = _words("normal", "unremarkable", "healthy")
_BUT = re.compile(
    r"\bbut\b|\bhowever\b|\bwhile\b|\bwhereas\b|;"
    r"|(?:,\s*and\b|,|\band\b)\s*(?=(?:not|no|none|only)\b)|\band\s+(?=(?:an?|one|two|three|four|five|six)\s)"
    r"|,\s*(?=(?:the )?(?:left|right) (?:half|side)\b)"
    r"|\s(?=rather than\b|instead of\b)",
    re.IGNORECASE,
)
_PARTICLE = re.compile(r"^\W*(?:yes|no)\s*[,.;:!]\s*", re.IGNORECASE)
_KIND = _words(*dict.fromkeys((*KINDS, *STUDY_KINDS)))
_SIDE = _words(*SIDES)
_PLACED = re.compile(
    r"\b(?:it|lies?|located|situated)\b|^\W*(?:in |on )?(?:the )?\w+(?: half| side)?\W*$", re.I
)
_BOTH = re.compile(r"\b(?:both|each of the) (?:halves|sides)\b|\beach half\b|\bbilateral", re.I)
_COUNTED = re.compile(
    r"\b(a single|one|two|three|four|five|six|\d{1,2})\s+"
    rf"(?:(?:{_KIND.pattern}|small|large|round|separate|distinct)\s+)*lesions?\b",
    re.IGNORECASE,
)
_NUMBERS = {"a single": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_UNIT = r"\s*(mm|cm|millimet(?:re|er)s?|centimet(?:re|er)s?)\b"
_NUMBER = r"(?<!\d)(\d++(?:[.,]\d++)?)"
_RANGE = re.compile(rf"{_NUMBER}(?:\s*(?:mm|cm))?\s*(?:-|–|to|and)\s*{_NUMBER}{_UNIT}", re.I)
_BY = re.compile(rf"{_NUMBER}(?:\s*(?:mm|cm))?\s*(?:x|×|by)\s*{_NUMBER}{_UNIT}", re.I)
_BOUND = re.compile(
    r"\b(under|below|less than|smaller than|shorter than|at most|up to|over|above|more than"
    rf"|larger than|longer than|greater than|at least)\s+{_NUMBER}{_UNIT}",
    re.IGNORECASE,
)
_LENGTH = re.compile(rf"{_NUMBER}{_UNIT}", re.I)
_BELOW = ("under", "below", "less than", "smaller than", "shorter than", "at most", "up to")

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
    """The parts of a sentence on the two sides of a "but" or a semicolon, and before what it says
    is not so ("banded, not oblique"), without the yes or no with which it begins. Of what it says
    of all others ("no lesion except a banded one") only the exception is one. A question has
    none."""
    if _OPEN.search(sentence):
        return []
    said = _PARTICLE.sub("", _PART.sub("", sentence), count=1)
    said = _SOUND.sub("normal", _SURE.sub("", said))
    found: list[str] = []
    for part in _BUT.split(said):
        before, *after = _EXCEPT.split(part, maxsplit=1)
        is_of_others = _NOT.search(before) or _NORMAL.search(before)
        part = after[0] if after and is_of_others else part
        head, _, tail = part.partition(":")
        found += (
            [part]
            if _LESION.search(head) or _SIDE.search(head)
            else [each for each in (head, tail) if each]
        )
    return found


@dataclass(frozen=True)
class Aspects:
    """What a clause speaks of.

    Attributes:
        is_of_lesion: whether it speaks of a lesion. denied: whether it negates.
        kinds, sides: the textures and the halves that it names; where it negates, those of which it
            says so. length: whether it names one.
        presupposed: where it negates, the kinds and halves of the lesion of which it takes for
            granted that it is there ("the banded lesion does not grow"); None where it takes none.
    """

    is_of_lesion: bool
    denied: bool
    kinds: frozenset[str]
    sides: frozenset[str]
    length: bool
    presupposed: tuple[frozenset[str], frozenset[str]] | None = None


def aspects(clause: str) -> Aspects:
    """What a clause speaks of."""
    kinds, sides = _named(clause)
    length = _LENGTH.search(clause) is not None and "wide" not in clause.lower()
    is_placed = bool(sides) and _PLACED.search(clause) is not None
    negation, lesion = _NOT.search(clause), _LESION.search(clause)
    is_of_lesion = bool(lesion or kinds or length or is_placed)
    if negation is None and is_of_lesion and _BOTH.search(clause):
        sides = frozenset(SIDES)
    if negation is None:
        return Aspects(is_of_lesion, False, kinds, sides, length)
    if _OTHERS.search(clause):
        return Aspects(False, True, frozenset(), frozenset(), False)
    before, after = clause[: negation.start()], clause[negation.start() :]
    part = _SAID_OF_IT.search(clause)
    if part is not None:
        return Aspects(True, True, frozenset(), frozenset(), False, _named(part[0]))
    is_there = lesion is not None and lesion.start() < negation.start()
    is_gone = _ARE_NOT.search(after) or _SEEN.search(after)
    if is_there and (not is_gone or negation[0].lower() == "without"):
        return Aspects(True, True, *_named(after), length, _named(before))
    return Aspects(is_of_lesion, True, kinds, sides, length)


def _named(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The textures and the halves that a text names."""
    kinds = frozenset(each.lower() for each in _KIND.findall(text))
    return kinds, frozenset(each.lower() for each in _SIDE.findall(text))


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
        if said.presupposed is not None:
            yield from _presupposed(facts, said, *said.presupposed)
        elif said.denied:
            yield _denied(facts, said.kinds, said.sides)
        else:
            yield from _affirmed(clause, facts, said)
    elif _NORMAL.search(clause) and not _OTHERS.search(clause):
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


def _presupposed(
    facts: PhantomFacts, said: Aspects, kinds: frozenset[str], sides: frozenset[str]
) -> Iterator[str]:
    """The levels of taking a lesion for granted, and of saying what it is not."""
    yield from _affirmed("", facts, Aspects(True, False, kinds, sides, False))
    if facts.kinds and facts.kinds <= said.kinds:
        yield CRITICAL
    if facts.sides and facts.sides <= said.sides:
        yield ATTRIBUTE


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
        meant = [
            each for each in facts.lesions
            if (not said.kinds or each.kind in said.kinds)
            and (not said.sides or each.side in said.sides)
        ]  # fmt: skip
        if meant and (int(counted[1]) if number is None else number) != len(meant):
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
        low, high = (_mm(found[i], found[3]) for i in (1, 2))
        return low <= length_mm <= high
    if found := _BOUND.search(clause):
        bound = _mm(found[2], found[3])
        return length_mm <= bound if found[1].lower() in _BELOW else length_mm >= bound
    if found := _BY.search(clause):
        return abs(max(_mm(found[i], found[3]) for i in (1, 2)) - length_mm) <= slack_mm
    if found := _LENGTH.search(clause):
        return abs(_mm(found[1], found[2]) - length_mm) <= slack_mm
    return False


def _mm(number: str, unit: str) -> float:
    return float(number.replace(",", ".")) * (10.0 if unit.lower().startswith("c") else 1.0)
