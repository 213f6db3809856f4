"""What readers give: documents of an index that is about to be built."""

from collections.abc import Iterator
from dataclasses import dataclass

from medgym.imaging.study import ImageRef

from ..documents import MAX_PASSAGE, Passage, shortened

TITLE = 200
"""Characters of a title that are kept."""


@dataclass(frozen=True)
class CorpusEntry:
    """A document on its way into an index.

    Attributes:
        where: where it was read, for errors.
        split: of a case; None for a passage.
        modality: a DICOM code; None where it belongs to images of any.
        answers: of a case, the gold and what is accepted beside it.
    """

    id: str
    text: str
    where: str
    group: str | None = None
    split: str | None = None
    modality: str | None = None
    answers: tuple[str, ...] = ()
    images: tuple[ImageRef, ...] = ()

    @property
    def row(self) -> dict[str, object]:
        """What the index keeps of it, but for its images."""
        return {
            "id": self.id,
            "text": self.text,
            "group": self.group,
            "split": self.split,
            "answers": list(self.answers),
            "locations": [ref.location for ref in self.images],
        }


def entries_of(passage: Passage, where: str) -> Iterator[CorpusEntry]:
    """A passage; one that is too long to be shown whole becomes several, cut between words."""
    title = shortened(passage.title, TITLE)
    room = MAX_PASSAGE - (len(title) + 2 if title else 0)
    for number, piece in enumerate(_pieces(passage.text, room), start=1):
        yield CorpusEntry(
            id=passage.id if number == 1 else f"{passage.id}/{number}",
            text=f"{title}: {piece}" if title else piece,
            where=where,
            group=passage.group,
            modality=passage.modality,
        )


def _pieces(text: str, room: int) -> Iterator[str]:
    text = " ".join(text.split())
    while len(text) > room:
        end = text.rfind(". ", room // 2, room) + 1 or text.rfind(" ", room // 2, room) or room
        end = room if end < 1 else end
        yield text[:end].rstrip()
        text = text[end:].lstrip()
    yield text
