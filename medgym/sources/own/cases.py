"""A case of each row of a table; a row that makes none says why."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medgym.cases import LETTERS, AnswerType, Case, CaseKey
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.scorable import unscorable
from medgym.sources.own import cell
from medgym.sources.own.cell import RowFault
from medgym.sources.own.columns import Columns
from medgym.sources.own.reading import Rows
from medgym.sources.rows import RowCases

if TYPE_CHECKING:
    import pyarrow

GOLD = ("text", "letter", "index")
"""How the right option of a choice is given."""

FindImages = Callable[[str, str], tuple[ImageRef, ...]]


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
        find: the images that a cell of a column names.
        file: what stands in ids before the row; empty for nothing.
    """

    def __init__(
        self,
        rows: Rows,
        columns: Columns,
        told: Told,
        split: str,
        find: FindImages,
        file: str = "",
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.told = told
        self.split = split
        self._find = find
        self._before = f"{told.name}/{split}/{file}/" if file else f"{told.name}/{split}/"

    def case(self, row: int) -> Case:
        """The case of a row.

        Raises:
            RowFault: it makes none.
        """
        images = self.images(row)
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
            modality=self.told.modality or cell.modality(self._text("modality", row)),
            body_part=self._text("body_part", row) or None,
            specialty=self._text("specialty", row) or None,
            language=self._text("language", row).strip() or self.told.language,
            group=self.group(row, images),
            source=self.told.name,
            split=self.split,
        )

    def fault(self, row: int) -> str | None:
        """Why a row makes no case; None where it makes one."""
        try:
            case = self.case(row)
        except RowFault as fault:
            return str(fault)
        for kind in ("question", "answer"):
            if not getattr(case, kind).strip() and not (kind == "answer" and case.regions):
                return f"the {kind} is blank (column {self._named(kind)})"
        if not case.images and self.columns.image:
            return f"it has no image (column {self._named('image')})"
        return unscorable(case)

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
        """The patient, else the first image, else the row."""
        patient = self._text("patient", row).strip()
        if patient:
            return patient
        first = next(iter(self.images(row) if images is None else images), None)
        if first is None:
            return self.id(row)
        file, _ = self.rows.file_of(row)
        column = (first.member or "").partition("/")[0]
        if column in file.images and first.uri == file.images[column].uri:
            return file.images[column].digest(first)
        return first.uri if first.member is None else f"{first.uri}/{first.member}"

    def images(self, row: int) -> tuple[ImageRef, ...]:
        """The images of a row."""
        file, own = self.rows.file_of(row)
        found: list[ImageRef] = []
        for name in self.columns.image:
            if name in file.images:
                found += file.images[name].refs(own)
            else:
                found += self._find(self.rows.text(name, row), name)
        return tuple(found)

    def options(self, row: int) -> tuple[str, ...]:
        """The options of a row, also blank ones, in the order of their letters."""
        names = self.columns.options
        if self._is_wide:
            found = [self.rows.text(name, row) for name in names]
            while found and not found[-1].strip():
                found.pop()
            return tuple(found)
        if not names:
            return ()
        text = self.rows.text(names[0], row)
        try:
            return cell.items(text)
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
        if self.told.gold == "letter":
            return cell.lettered(given, options, column)
        if self.told.gold == "index":
            return cell.indexed(given, options, column)
        found = cell.spelled(given, options)
        if found is None:
            raise RowFault(f"the answer {given!r} (column {column!r}) is none of its options")
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

    def _regions(self, row: int) -> "tuple[cell.Region, ...]":
        names = self.columns.region
        return cell.regions(self.rows.text(names[0], row), names[0]) if names else ()


def type_named(word: str) -> AnswerType | None:
    """The kind of answers that a word names."""
    from medgym.sources.own.columns import plain

    return cell.TYPES.get(plain(word))


def cases_of(reader: RowReader, chosen: "pyarrow.Array | None") -> RowCases[int]:
    """The cases of a table, or of some of its rows.

    Args:
        chosen: the numbers of the rows, growing; None for all.

    Raises:
        UserError: two rows have one id, or no row makes a case.
    """
    rows = reader.rows
    numbers: Sequence[int] = range(len(rows)) if chosen is None else chosen.to_numpy()
    _check_ids(reader, chosen)
    found = RowCases(
        numbers,
        lambda row: reader.case(int(row)),
        lambda number: rows.place(int(numbers[number])),
        lambda row: reader.fault(int(row)),
        suspects=_suspects(reader, chosen),
        key=lambda row: reader.key(int(row)),
        unique_ids=True,
    )
    if not found and found.dropped:
        place, reason = found.dropped[0]
        raise UserError(
            f"none of the {len(numbers):,} rows of {rows.path} makes a case; the first, {place}: "
            f"{reason}; fix: {_fix(reader)}"
        )
    return found


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


def _check_ids(reader: RowReader, chosen: "pyarrow.Array | None") -> None:
    import pyarrow.compute

    if not reader.columns.id:
        return
    (name,) = reader.columns.id
    column = reader.rows.table.column(name)
    column = column if chosen is None else column.take(chosen)
    if pyarrow.compute.count_distinct(column).as_py() == len(column):
        return
    seen: dict[str, int] = {}
    for place, found in enumerate(column):
        text = found.as_py().strip()
        first = seen.setdefault(text, place)
        if first != place and text:  # a row with a blank one is dropped
            at = [place if chosen is None else chosen[place].as_py() for place in (first, place)]
            raise UserError(
                f"two rows of one id, {text!r} (column {name!r}): {reader.rows.place(at[0])} and "
                f"{reader.rows.place(at[1])}; fix: give each an id of its own, or write id=- to "
                "number them"
            )


def _suspects(reader: RowReader, chosen: "pyarrow.Array | None") -> Iterable[int] | None:
    """The rows that may make no case, as seen from whole columns; None for all."""
    import numpy as np
    import pyarrow
    import pyarrow.compute as compute

    rows, columns, told = reader.rows, reader.columns, reader.told
    if len(columns.options) == 1 or columns.region or columns.accepted or columns.type:
        return None
    held = any(name not in rows.table.column_names for name in columns.image)
    if held or told.type not in (None, "open"):
        return None

    def of(name: str) -> "pyarrow.ChunkedArray":
        column = rows.table.column(name)
        return column if chosen is None else column.take(chosen)

    def is_text(name: str) -> "pyarrow.ChunkedArray":
        return compute.match_substring_regex(of(name), r"\S")

    # Text that begins as a list does, or an address, is looked at by itself.
    good = compute.and_(is_text(columns.question[0]), is_text(columns.answer[0]))
    for name in columns.id:
        good = compute.and_(good, is_text(name))
    for name in columns.image:
        plain = compute.match_substring_regex(of(name), r"^\s*[^\[{(\s|][^|]*$")
        good = compute.and_(good, compute.and_not(plain, compute.match_substring(of(name), "://")))
    if columns.options:
        options = [of(name) for name in columns.options]
        answer = of(columns.answer[0])
        for name in columns.options:
            good = compute.and_(good, is_text(name))
        if told.gold == "text":
            is_one = compute.equal(answer, options[0])
            for option in options[1:]:
                is_one = compute.or_(is_one, compute.equal(answer, option))
        else:
            signs = LETTERS if told.gold == "letter" else [str(n) for n in range(len(LETTERS))]
            known = pyarrow.array(list(signs[: len(options)]))
            is_one = compute.is_in(answer, value_set=known)
        good = compute.and_(good, is_one)
    found: Iterable[int] = np.flatnonzero(~good.combine_chunks().to_numpy(zero_copy_only=False))
    return (int(number) for number in found)
