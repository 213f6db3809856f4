"""What can be found: passages and solved cases, as text and as what the guard asks about."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from medgym.cases import LETTERS, Case
from medgym.errors import UserError
from medgym.files import read_text
from medgym.imaging.opened import OpenedImage, opened_image
from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import SAMPLES, Fingerprint, fingerprint_of, series_prints

MAX_PASSAGE = 700
"""Characters of one document in an answer; five of them fit into what the episode shows."""


class Passage(BaseModel):
    """One line of a file of passages. `group` says which patient or image it is about, if any, and
    `modality` (a DICOM code) to which images it belongs, where it does not belong to all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    title: str = ""
    group: str | None = None
    modality: str | None = None

    @property
    def shown(self) -> str:
        """The title and the text."""
        return f"{self.title}: {self.text}" if self.title else self.text


@dataclass(frozen=True)
class Document:
    """What can be found: its text, and all that the guard asks about.

    Attributes:
        split: of a case; None for a passage.
        images: of a case.
    """

    id: str
    text: str
    group: str | None = None
    split: str | None = None
    images: tuple[ImageRef, ...] = ()

    @property
    def locations(self) -> tuple[str, ...]:
        """Where the images are."""
        return tuple(ref.location for ref in self.images)

    @cached_property
    def prints(self) -> tuple[Fingerprint, ...]:
        """The fingerprints of `images`, taken once. Raises where one cannot be opened."""
        return tuple(each for ref in self.images for each in prints_of(opened_image(ref)))


def prints_of(image: OpenedImage) -> list[Fingerprint]:
    """The fingerprints of an image of a document: of its start, and of some of its series.

    Raises:
        UserError: an image cannot be read.
    """
    first = fingerprint_of(image.start)
    return [first, *(series_prints(image.study, SAMPLES) if image.has_many else ())]


def of_case(case: Case) -> Document:
    """A case as what can be found: its question, context, options and answer."""
    options = "; ".join(f"{a}. {text}" for a, text in zip(LETTERS, case.options, strict=False))
    parts = (case.context, case.question, f"Options: {options}" if options else "")
    asked = " ".join(part for part in parts if part)
    text = f"Case: {shortened(asked, MAX_PASSAGE - 100)} Answer: {shortened(case.answer, 80)}"
    return Document(case.id, text, case.group, case.split, case.images)


def read_passages(path: Path) -> list[Document]:
    """Read a file of passages; an error names the file, the line and the field."""
    lines = read_text(path, "file of passages").splitlines()
    return [
        Document(each.id, shortened(each.shown, MAX_PASSAGE), each.group)
        for _, each in passages_in(path, lines)
    ]


def passages_in(path: Path, lines: Iterable[str]) -> Iterable[tuple[int, Passage]]:
    """The passages of JSON lines, each with the number of its line; errors as `read_passages`."""
    for number, line in enumerate(lines, start=1):
        try:
            yield number, Passage.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise UserError(
                f"{path}, line {number}: {where}: {first['msg']}; fix: correct it"
            ) from error


def shortened(text: str, length: int) -> str:
    """A text on one line, cut where it is longer than so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 6] + " [cut]"
