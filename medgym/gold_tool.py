"""What a tool of the fidelities `oracle` and `predicted` may know of a case's gold.

The episode gives it to a tool that `needs_gold`, for one call, and nothing else holds it. It is
what may be told on this question, and never what the question asks: gold from which the answer
follows is left out before a tool sees it. What that is is read from the question, the options and
the answer. Where they do not say, it is left out.
"""

import re
from dataclasses import dataclass
from typing import Literal

from medgym.case import Case, case_hash, normalised
from medgym.regions import Region

Aspect = Literal["label", "place", "size", "count"]
"""What gold says: what a finding is, where it lies, any measure of it (a length, an area, a mean
intensity) or its shape, and how many there are (which is also whether there is one)."""


@dataclass(frozen=True)
class Gold:
    """The gold of a case, as far as a tool may use it for this question.

    Attributes:
        regions: the gold findings. Empty where their place or their number is asked, for every
            outline would tell it; their `label` is empty where that is asked. Where a size is
            asked each is one pixel, its middle: whatever is asked of an outline, and be it
            whether it holds a point, its size would follow from the answers.
        seed: for the noise of a tool that spoils gold; the same for all calls of a case.
        hidden: what may not be told.
    """

    regions: tuple[Region, ...] = ()
    seed: int = 0
    hidden: frozenset[Aspect] = frozenset()

    @classmethod
    def of(cls, case: Case) -> "Gold":
        """What a tool may know of a case's gold."""
        hidden = _asked(case)
        regions = () if hidden & {"place", "count"} else case.regions
        if "label" in hidden:
            regions = tuple(region.model_copy(update={"label": ""}) for region in regions)
        if "size" in hidden:
            regions = tuple(_middle(region) for region in regions)
        return cls(regions, int(case_hash(case)[:12], 16), hidden)

    def tells(self, what: Aspect) -> bool:
        """Whether a tool's text may say it."""
        return what not in self.hidden


def _middle(region: Region) -> Region:
    """The middle of a region: one pixel, on one image."""
    x0, y0, x1, y1 = region.box_px
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    index = None if region.index is None else region.middle
    box_px = x - 0.5, y - 0.5, x + 0.5, y + 0.5
    return region.model_copy(update={"box_px": box_px, "mask": None, "index": index, "count": 1})


_UNIT = (
    r"mm2?|cm2?|ml|cc|hu|(milli|centi)?(met(er|re)s?|lit(er|re)s?)|hounsfield|pixels?|px|voxels?|"
    r"cubic|square"
)
"""A unit of size: after "how many" it asks for a measure, and not for a number of findings."""

_WHERE = re.compile(
    r"\b(where|locat\w*|position\w*|index|coordinates?|bounding|box|point|distance|how far|"
    r"near(?!est \d)\w*|close\w*|adjacent|(which|what|affected) (is the |\w+ )?(sides?|half|"
    r"halves|quadrants?|lobes?|zones?|regions?|slices?|images?|planes?|segments?|levels?|organs?|"
    r"parts?|areas?|lungs?|views?|scans?|frames?|pictures?|photographs?|stud(y|ies)|exams?|eyes?|"
    r"kidneys?|breasts?|bones?|ribs?|vertebra\w*|tooth|teeth|fingers?|joints?|vessels?|"
    r"arter(y|ies)))\b"
)
"""Asks for a place."""

_PLACE = re.compile(
    r"\b(left|right|upper|lower|middle|superior|inferior|anterior|posterior|central|peripheral|"
    r"\w*lateral\w*|medial|proximal|distal|apex|apical|basal|top|bottom|lobes?|halves|half|"
    r"quadrants?|zones?|sides?|above|below)\b"
)
"""Names a place: an answer, or what is to be said yes or no to."""

_HOW_MANY = rf"how many(?! ({_UNIT})\b)"
_COUNT = re.compile(
    rf"\b({_HOW_MANY}|number of|count|multiple|single|several|solitary|is there|are there|any|show|"
    r"shows|see|seen|visible|present|presence|absent|absence|contain\w*|evidence|signs? of|"
    r"normal|abnormal\w*|healthy|has|have|since|change\w*|prior|progress\w*|new|resol\w*)\b"
)
_MANY = re.compile(rf"\b({_HOW_MANY}|number of|count|since|change\w*|new|findings)\b")
_SIZE = re.compile(
    rf"(?<![a-z])({_UNIT}|size\w*|large\w*|small\w*|big\w*|long\w*|short\w*|length|width|wide|"
    r"height|diameter|circumference|perimeter|area|volume|extent|thick\w*|depth|angles?|degrees?|"
    r"shape\w*|contours?|outlines?|margins?|borders?|round\w*|oval|irregular\w*|spicul\w*|"
    r"lobulated|how much|percent\w*|ratio|value|mean|densit\w*|intensit\w*|attenuation|"
    r"dimension\w*|measure\w*|enlarge\w*|severity|severe|since|change\w*|grow\w*|grew|shrink\w*|progress\w*|prior|radius|stage|bright\w*|dark\w*|signal|"
    r"(hyper|hypo|iso|an)?-?(dense|intense|echoic|echogenic|attenuating))\b"
)
_KIND = re.compile(
    r"\b(what (is|are|was|were)|diagnos\w*|identify|name|called|"
    r"(what|which) (\w+ )?(kinds?|types?|patterns?|findings?|lesions?|abnormalit\w+|diseases?|"
    r"conditions?|patholog\w+))\b"
)
"""Asks what a finding is, whatever else it speaks of, as in "What is the small lesion?"."""

_NOTHING = re.compile(r"(no|none|not|without|normal|healthy|absent|negative|nothing)\b")
_WORD = re.compile(r"[^\W_]+")
_YES_OR_NO = frozenset(("yes", "no", "true", "false"))


def _asked(case: Case) -> frozenset[Aspect]:
    """What a case asks of its findings, or might ask."""
    everything: frozenset[Aspect] = frozenset(("label", "place", "size", "count"))
    if case.language != "en" or case.answer_type in ("report", "set"):
        return everything
    question = normalised(case.question)
    answers = [normalised(text) for text in (*case.golds, *case.options)]
    closed = case.answer_type == "closed" or bool(_YES_OR_NO & set(answers))
    asked: set[Aspect] = set()
    named = (*answers, question) if closed else answers
    if case.answer_type == "region" or _WHERE.search(question) or any(map(_PLACE.search, named)):
        asked.add("place")
    if any(map(_SIZE.search, (question, *answers))):
        asked.add("size")
    if _counts(case, question) or any(_NOTHING.match(answer) for answer in answers if not closed):
        asked.add("count")
    if case.answer_type == "number" and not asked & {"place", "count"}:
        asked.add("size")
    if closed and not asked:
        asked.add("count")
    # A label is told only where something else is asked for sure, and no answer shares its words.
    if not closed and _KIND.search(question):
        asked.add("label")
    words = {word for text in named for word in _words(text)}
    labels = {word for region in case.regions for word in _words(region.label)}
    if labels & words or "count" in asked:
        asked.add("label")
    return frozenset(asked) or everything


def _counts(case: Case, question: str) -> bool:
    """Whether it asks how many findings there are, or whether there is one."""
    pattern = _COUNT if case.answer_type == "closed" else _MANY
    return pattern.search(question) is not None


def _words(text: str) -> list[str]:
    """The words of a text without their ends, so that `lesions` is the word `lesion`."""
    return [word.rstrip("s") for word in _WORD.findall(normalised(text))]
