"""What published exams have in common: items with options or an open answer, and images beside."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medgym.cases import LETTERS, AnswerType, Case, CaseKey
from medgym.imaging.study import ImageRef
from medgym.scorable import unscorable
from medgym.sources.card import SplitCounts
from medgym.sources.image_files import ImageFiles
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.uris import file_uri


@dataclass(frozen=True, slots=True)
class Item:
    """An item of an exam, as read.

    Attributes:
        key: what its case's id ends in.
        file, number: the file it is from, and its number there, from 1.
        group: see `Case`.
        images: the names of the images. ref: where the image of a name is.
        question, options, context: what else the policy sees.
        answer, accepted: the gold, as text; of an item with options their texts.
        kinds: what the set itself calls it, by which the card counts.
        fault: why it makes no case, where reading it showed that.
    """

    key: str
    file: str
    number: int
    group: str
    images: tuple[str, ...]
    ref: Callable[[str], ImageRef]
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
            return self._case(split, item, tuple(map(item.ref, item.images)))

        def place(index: int) -> str:
            return f"row {items[index].number} of {items[index].file}"

        def fault(item: Item) -> str | None:
            missing = None if item.images else "it has no image"
            return item.fault or missing or unscorable(self._case(split, item, ()))

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

    def _case(self, split: str, item: Item, images: tuple[ImageRef, ...]) -> Case:
        answer_type: AnswerType = "choice" if item.options else "open"
        return Case(
            id=self._id(split, item),
            images=images,
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


def cell_of(path: Path) -> Callable[[str], ImageRef]:
    """Where the images are that cells of a Parquet file hold."""
    uri = file_uri(path)
    return lambda member: ImageRef(uri=uri, member=member)


def outside(names: Iterable[str]) -> str | None:
    """Why one of some names can be none of an image that is shipped; None where all can."""
    return next(filter(None, map(ImageFiles.fault, names)), None)
