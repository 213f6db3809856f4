"""A case: one clinical question about one study. Frozen, cheap, holds no pixels.

Gold (`answer`, `regions`) lives here and reaches only rubrics and tools of oracle fidelity; nothing
that a policy, a view or an observation can reach holds a `Case`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.imaging.study import Box, ImageRef, Slab, Window
from medgym.regions import Region

AnswerType = Literal["choice", "closed", "number", "set", "open", "region", "report"]
"""What kind of answer a case asks for. It decides which scorer compares the answer with the gold:

choice: one of `options`, by letter or text. closed: yes or no, or another word of a small set.
number: a number, with or without a unit. set: several items, in any order. open: a few words.
region: a box or a mask. report: a text of several sentences."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class CaseView(BaseModel):
    """A region of an image that an episode shows from the start, and who points to it.

    It is drawn from the image's own pixels. `box_px` is in original pixels. Without `plane` and
    `index` it is of what the image starts with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int
    box_px: Box
    by: str = ""
    plane: str | None = None
    index: int | None = None
    slab: Slab | None = None
    window: Window | None = None


class Case(BaseModel):
    """One question about one study, with its gold and its provenance.

    Attributes:
        id: `source/split/key`, durable and unique: no other case of a source or a file has it.
        images: where the images are, in the order in which they are shown.
        views: of regions of them, shown from the start beside the whole images.
        question, options, context: shown to the policy (`context`: history, indication).
        answer: gold, never shown; of a `choice` the text of the right option, or empty.
        answer_type: what kind of answer is asked for; it decides how an answer is scored.
        regions: gold findings, never shown.
        modality: DICOM modality code. specialty: who reads it, triage's gold.
        accepted: further right answers, beside `answer`; of a `choice` other right options.
        tolerance: of a `number`, how far from the gold a right answer may be, in the gold's unit;
            None: only by rounding.
        group: patient (or image) key: the unit for splitting, for clustered statistics and for the
            guard of retrieval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    images: tuple[ImageRef, ...]
    views: tuple[CaseView, ...] = ()
    question: str
    options: tuple[str, ...] = ()
    context: str = ""
    answer: str
    accepted: tuple[str, ...] = ()
    tolerance: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    answer_type: AnswerType = "open"
    regions: tuple[Region, ...] = ()
    modality: str | None = None
    body_part: str | None = None
    specialty: str | None = None
    language: str = "en"
    group: str
    source: str
    split: str
    licence: str = ""

    @property
    def golds(self) -> tuple[str, ...]:
        """Every answer that is right: the gold, then the accepted ones."""
        return (self.answer, *self.accepted)


_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """A text as answers are compared: lower case, single spaces, no full stop at the end, neither
    a Latin nor a Chinese one. A letter and its accent are one or two characters by chance: they
    count as one (NFC)."""
    return _kept(text) if len(text) <= _SHORT else _compared(text)


_SHORT = 200
"""Characters of a text up to which it is kept how it is compared: a set has the same few options.
A thousand whole replies would be a hundred megabytes."""


def _compared(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    return _SPACE.sub(" ", text).strip().rstrip(".。 ").casefold()


_kept = lru_cache(maxsize=1024)(_compared)


def option_of(reply: str, options: Sequence[str]) -> str | None:
    """The one of `options` that `reply` names by its letter (A is the first), else by its text.

    A letter is a letter, even where the text of another option is that letter. An empty reply names
    none.
    """
    wanted = normalised(reply)
    if not wanted:
        return None
    named = dict(zip(LETTERS.casefold(), options, strict=False))
    if wanted in named:
        return named[wanted]
    return next((option for option in options if normalised(option) == wanted), None)


def case_hash(case: Case) -> str:
    """The hash of all that a case says: its images' URIs, the question, the options, the gold.

    Two cases of one id that differ in anything have different hashes. What an image file holds does
    not count: trajectories name each image that was shown by the hash of its pixels. A field at its
    default does not count either, so cases keep their hashes when a field is added to `Case`.
    """
    text = case.model_dump_json(exclude_defaults=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()
