"""What published exams have in common: items with options or an open answer, and images beside."""

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from medgym.cases import LETTERS, AnswerType, Case, CaseKey
from medgym.imaging.study import ImageRef
from medgym.scorable import unscorable
from medgym.sources.card import SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.uris import file_uri


class ExamImage(NamedTuple):
    """Where an image of an item is: `ImageRef` without what exams do not use.

    An exam has up to a hundred thousand of them in memory.
    """

    uri: str
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of an exam, as read.

    Attributes:
        key: what its case's id ends in.
        file, number: the file it is from, and its number there, from 1.
        group: see `Case`.
        images, question, options, context: what the policy sees.
        answer, accepted: the gold, as text; of an item with options their texts.
        kinds: what the set itself calls it, by which the card counts.
        fault: why it makes no case, where reading it showed that.
    """

    key: str
    file: str
    number: int
    group: str
    images: tuple[ExamImage, ...]
    question: str
    options: tuple[str, ...]
    answer: str
    accepted: tuple[str, ...] = ()
    context: str = ""
    kinds: tuple[str, ...] = ()
    modality: str | None = None
    body_part: str | None = None
    fault: str | None = None


class Exam(PublishedSource):
    """A published exam: a source whose cases are made from `Item`s."""

    @abstractmethod
    def items(self, split: str) -> Sequence[Item]:
        """The items of a split, those that make no case among them."""

    def load(self, split: str) -> RowCases[Item]:
        """See `PublishedSource.load`."""
        items = self.items(split)

        def make(item: Item) -> Case:
            return self._case(split, item)

        def place(index: int) -> str:
            return f"row {items[index].number} of {items[index].file}"

        def fault(item: Item) -> str | None:
            missing = None if item.images else "it has no image"
            return item.fault or missing or unscorable(make(item))

        def key(item: Item) -> CaseKey:
            return CaseKey(self._id(split, item), self.card.name, item.group)

        good = [item.key for item in items if item.fault is None]
        unique = len(good) == len(set(good))
        return RowCases(items, make, place, fault, key=key, unique_ids=unique)

    def found_counts(self, split: str, loaded: RowCases[Item]) -> SplitCounts:
        """Rows, different images, and rows of each kind that the card counts."""
        kinds = Counter(kind for item in loaded.rows for kind in item.kinds)
        return SplitCounts(
            rows=len(loaded.rows),
            images=len({image for item in loaded.rows for image in item.images}),
            types={kind: kinds[kind] for kind in self.expected_counts(split).types},
        )

    def all_files(self, pattern: str) -> list[Path]:
        """The files of the local copy whose names a pattern matches, by name.

        Raises:
            UserError: there is none.
        """
        return sorted(self.folder.glob(pattern)) or [self.file(pattern)]

    def _id(self, split: str, item: Item) -> str:
        return f"{self.card.name}/{split}/{item.key}"

    def _case(self, split: str, item: Item) -> Case:
        answer_type: AnswerType = "choice" if item.options else "open"
        return Case(
            id=self._id(split, item),
            images=tuple(ImageRef(uri=each.uri, member=each.member) for each in item.images),
            question=item.question,
            options=item.options,
            context=item.context,
            answer=item.answer,
            accepted=item.accepted,
            answer_type=answer_type,
            modality=item.modality,
            body_part=item.body_part,
            group=item.group,
            source=self.card.name,
            split=split,
            licence=self.card.licence,
        )


def lettered(letter: str, options: Sequence[str]) -> str:
    """The option of a letter; empty where there is none of it."""
    wanted = letter.strip().strip("().:").strip()
    place = LETTERS.find(wanted) if len(wanted) == 1 else -1
    return options[place] if 0 <= place < len(options) else ""


def no_such_letter(letter: str, options: Sequence[str]) -> str:
    """Why a letter names no option, in a few words."""
    return f"its answer is {letter!r}, and it has {len(options)} options"


def shipped(found: Path, top: str) -> Callable[[str], ExamImage]:
    """Where the images of a set are, by their names in it.

    Args:
        found: the zip that is published, or the folder that it was unpacked to.
        top: the folder at the top of the zip. An unpacked copy has it once, or twice, where it was
            unpacked into a folder of that name.
    """
    if found.is_file():
        uri = file_uri(found)
        return lambda name: ExamImage(uri, f"{top}/{name}")
    inside = file_uri(found / top if (found / top).is_dir() else found)
    return lambda name: ExamImage(f"{inside}/{quote(os.fsencode(name))}")
