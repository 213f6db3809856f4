"""A case of each row of a table; a row that makes none says why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medgym.cases import AnswerType, Case, CaseKey
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.regions import Region
from medgym.scorable import unscorable
from medgym.sources.own import cell
from medgym.sources.own.cell import RowFault
from medgym.sources.own.columns import Columns
from medgym.sources.rows import RowCases

GOLD = ("text", "letter", "index")
"""How the right option of a choice is given."""


class RowTexts(Protocol):
    """Rows of text: those of a table, or what a program holds."""

    @property
    def path(self) -> str | Path:
        """What errors call them."""

    def __len__(self) -> int: ...

    def text(self, name: str, row: int) -> str:
        """A cell."""

    def number(self, row: int) -> int:
        """The number of a row as places name it."""

    def place(self, row: int) -> str:
        """Where a row is: `row 12 of questions.csv`."""

    def are_different(self, name: str) -> bool:
        """Whether it is known that all cells of a column differ; what is not known is looked at."""


class RowImages(Protocol):
    """The images of rows."""

    def refs(self, row: int) -> tuple[ImageRef, ...]:
        """Those of a row."""

    def named(self, row: int) -> tuple[ImageRef, ...]:
        """As many as a row has, found without reading or encoding any."""

    def group(self, ref: ImageRef) -> str:
        """What only the same image has, too."""

    def modality(self, ref: ImageRef) -> str | None:
        """The modality that an image itself says, where that is known."""


@dataclass(frozen=True)
class Told:
    """What a spec says of a whole table.

    Attributes:
        name: how the ids of its cases begin; also what their source is called.
        gold: one of `GOLD`.
        type, modality, language: of all rows; None where a column or a guess says it.
    """

    name: str
    gold: str = "text"
    type: AnswerType | None = None
    modality: str | None = None
    language: str = "en"


class RowReader:
    """Makes the cases of rows.

    Args:
        rows: of which they are made.
        columns: what each column is.
        told: what the spec says of all rows.
        split: whose cases are made.
        images: those of each row.
        file: what stands in ids before the row; empty for nothing.
    """

    def __init__(
        self,
        rows: RowTexts,
        columns: Columns,
        told: Told,
        split: str,
        images: RowImages,
        file: str = "",
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.told = told
        self.split = split
        self._images = images
        self._before = f"{told.name}/{split}/{file}/" if file else f"{told.name}/{split}/"

    def case(self, row: int) -> Case:
        """The case of a row.

        Raises:
            RowFault: it makes none.
        """
        images = self._images.refs(row)
        modality = self._images.modality(images[0]) if images else None
        return self._case(row, images, self.group(row, images), modality)

    def fault(self, row: int) -> str | None:
        """Why a row makes no case; None where it makes one. No image is read."""
        try:
            images = self._images.named(row)
            for kind in ("question", "answer"):
                blank = not self._text(kind, row).strip()
                if blank and not (kind == "answer" and self._regions(row)):
                    return f"the {kind} is blank (column {self._named(kind)})"
            if not images and self.columns.image:
                return f"it has no image (column {self._named('image')})"
            return unscorable(self._case(row, images, ""))
        except RowFault as fault:
            return str(fault)

    def _case(
        self, row: int, images: tuple[ImageRef, ...], group: str, modality: str | None = None
    ) -> Case:
        options, given = self.options(row), self._text("answer", row)
        answer = self._gold(row, given, options) if given.strip() else ""
        shown = tuple(option for option in options if option.strip())
        return Case(
            id=self.id(row),
            images=images,
            question=self._text("question", row),
            options=shown if self._is_wide else options,
            context=self._text("context", row),
            answer=answer,
            accepted=self._accepted(row, options),
            answer_type=self._type(row, options, answer),
            regions=self._regions(row),
            modality=self.told.modality or cell.modality(self._text("modality", row)) or modality,
            body_part=self._text("body_part", row) or None,
            specialty=self._text("specialty", row) or None,
            language=self._text("language", row).strip() or self.told.language,
            group=group,
            source=self.told.name,
            split=self.split,
        )

    def key(self, row: int) -> CaseKey:
        """The key of a row's case."""
        return CaseKey(self.id(row), self.told.name, self.group(row, None))

    def id(self, row: int) -> str:
        """`NAME/SPLIT/FILE/ID`, where ID is that of the row, else its number.

        Raises:
            RowFault: the row should have an id, and has none.
        """
        if self.columns.id:
            key = self._text("id", row).strip()
            if not key:
                raise RowFault(f"the id is blank (column {self._named('id')})")
            return self._before + key
        return f"{self._before}{self.rows.number(row)}"

    def group(self, row: int, images: Sequence[ImageRef] | None) -> str:
        """The patient, else the first image, else the row.

        Args:
            images: those of the row, where they are known.
        """
        patient = self._text("patient", row).strip()
        if patient:
            return patient
        first = next(iter(self._images.refs(row) if images is None else images), None)
        return self.id(row) if first is None else self._images.group(first)

    def options(self, row: int) -> tuple[str, ...]:
        """The options of a row, also blank ones, in the order of their letters."""
        names = self.columns.options
        if self._is_wide:
            return _without_blank_end([self.rows.text(name, row) for name in names])
        if not names:
            return ()
        text = self.rows.text(names[0], row)
        try:
            return _without_blank_end(cell.items(text))
        except ValueError as error:
            raise RowFault(f"{text[:60]!r} (column {names[0]!r}) is no list of options") from error

    @property
    def _is_wide(self) -> bool:
        return len(self.columns.options) > 1

    def _text(self, kind: str, row: int) -> str:
        names: tuple[str, ...] = getattr(self.columns, kind)
        return self.rows.text(names[0], row) if names else ""

    def _named(self, kind: str) -> str:
        return " or ".join(repr(name) for name in getattr(self.columns, kind))

    def _gold(self, row: int, given: str, options: tuple[str, ...]) -> str:
        if not options:
            return given.strip()
        column = self.columns.answer[0]
        found: str | None
        if self.told.gold == "letter":
            found = cell.lettered(given, options, column)
        elif self.told.gold == "index":
            found = cell.indexed(given, options, column)
        else:
            found = cell.spelled(given, options)
        if found is None:
            raise RowFault(f"the answer {given!r} (column {column!r}) is none of its options")
        if not found.strip():
            raise RowFault(f"the answer {given!r} (column {column!r}) names a blank option")
        return found

    def _accepted(self, row: int, options: tuple[str, ...]) -> tuple[str, ...]:
        found: list[str] = []
        for name in self.columns.accepted:
            try:
                found += (each for each in cell.items(self.rows.text(name, row)) if each)
            except ValueError as error:
                raise RowFault(f"column {name!r} is no list") from error
        if options and self.told.gold != "text":
            take = cell.lettered if self.told.gold == "letter" else cell.indexed
            found = [take(each, options, self.columns.accepted[0]) for each in found]
        elif options:
            found = [cell.spelled(each, options) or each for each in found]
        return tuple(found)

    def _type(self, row: int, options: tuple[str, ...], answer: str) -> AnswerType:
        if options:
            return "choice"
        word = self._text("type", row)
        if word.strip():
            known = type_named(word)
            if known is None:
                raise RowFault(
                    f"the answer type {word!r} (column {self._named('type')}) is unknown"
                )
            return known
        if self.told.type is not None:
            return self.told.type
        return cell.guessed_type(answer) if answer else "region"

    def _regions(self, row: int) -> tuple[Region, ...]:
        names = self.columns.region
        return cell.regions(self.rows.text(names[0], row), names[0]) if names else ()


def _without_blank_end(options: Sequence[str]) -> tuple[str, ...]:
    """Options without the blank ones after the last; the letters of the others stay."""
    count = len(options)
    while count and not options[count - 1].strip():
        count -= 1
    return tuple(options[:count])


def type_named(word: str) -> AnswerType | None:
    """The kind of answers that a word names."""
    from medgym.sources.own.columns import plain

    return cell.TYPES.get(plain(word))


def cases_of(
    reader: RowReader, numbers: Sequence[int], suspects: Iterable[int] | None
) -> RowCases[int]:
    """The cases of some rows.

    Args:
        numbers: of the rows, growing.
        suspects: the places among these of the rows that may make no case; None for all.

    Raises:
        UserError: two rows have one id, or no row makes a case.
    """
    rows = reader.rows
    _check_ids(reader, numbers)
    found = RowCases(
        numbers,
        lambda row: reader.case(int(row)),
        lambda number: rows.place(int(numbers[number])),
        lambda row: reader.fault(int(row)),
        suspects=suspects,
        key=lambda row: reader.key(int(row)),
        unique_ids=True,
    )
    if not found and found.dropped:
        place, reason = found.dropped[0]
        raise UserError(
            f"none of the {len(numbers):,} rows of {rows.path} makes a case; the first, {place}: "
            f"{reason}; fix: {_fix(reader)}"
        )
    if reader.told.gold == "index" and found.dropped:
        _check_from_zero(reader, numbers)
    return found


def _check_from_zero(reader: RowReader, numbers: Sequence[int]) -> None:
    """Refuse indices that count from 1: all options but the last would be taken for the next."""
    last: int | None = None
    for number in numbers:
        row = int(number)
        text = reader._text("answer", row).strip().removesuffix(".0")
        if text.isdecimal() and int(text) == 0:
            return
        try:
            if last is None and text.isdecimal() and int(text) == len(reader.options(row)):
                last = row
        except RowFault:
            continue
    if last is not None:
        raise UserError(
            f"the indices of {reader.rows.path} (column {reader._named('answer')}) seem to count "
            f"from 1: none is 0, and that of {reader.rows.place(last)} is the number of its "
            "options; fix: subtract 1 from each, or give the letter or the text of the option"
        )


def _fix(reader: RowReader) -> str:
    gold = gold_form(reader)
    if gold != reader.told.gold:
        return f"write gold={gold}"
    return f"see medgym cases new {reader.rows.path}"


def gold_form(reader: RowReader, looked_at: int = 200) -> str:
    """How the first rows with options give their right option: as text where that fits most."""
    fits = dict.fromkeys(GOLD, 0)
    for row in range(min(len(reader.rows), looked_at)):
        try:
            options = reader.options(row)
        except RowFault:
            continue
        answer = reader._text("answer", row)
        if not options or not answer.strip():
            continue
        fits["text"] += cell.spelled(answer, options) is not None
        for gold, take in (("letter", cell.lettered), ("index", cell.indexed)):
            try:
                take(answer, options, "")
            except RowFault:
                continue
            fits[gold] += 1
    return max(GOLD, key=lambda gold: fits[gold])


def _check_ids(reader: RowReader, numbers: Sequence[int]) -> None:
    if not reader.columns.id or reader.rows.are_different(reader.columns.id[0]):
        return
    (name,) = reader.columns.id
    seen: dict[str, int] = {}
    for number in numbers:
        row = int(number)
        text = reader.rows.text(name, row).strip()
        first = seen.setdefault(text, row)
        if first != row and text:  # a row with a blank one is dropped
            raise UserError(
                f"two rows of one id, {text!r} (column {name!r}): {reader.rows.place(first)} and "
                f"{reader.rows.place(row)}; fix: give each an id of its own, or write id=- to "
                "number them"
            )
