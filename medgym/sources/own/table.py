"""The source `table`: cases from a table of your own, without code.

`table,path=questions.csv:all` reads CSV, TSV, JSON lines, JSON or Parquet. Options say what cannot
be guessed: `images=DIR` (a folder or a zip), `image=COLUMN`, `question=`, `options=A+B+C`,
`answer=`, `gold=letter`, and so on (see `medgym.sources.own.columns`). docs/your-data.md has all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from medgym.cases import AnswerType, Case
from medgym.errors import UserError, unknown
from medgym.source import Source
from medgym.sources.arrow_rows import give_back, texts, where
from medgym.sources.own.cases import GOLD, RowReader, Told, cases_of, type_named
from medgym.sources.own.cell import modality
from medgym.sources.own.columns import GUESSES, Columns, columns_of
from medgym.sources.own.images import ImageFolder, TableImages
from medgym.sources.own.looking import look_at
from medgym.sources.own.reading import Rows, TableFile

WHOLE = "all"
"""The only split of a table without a column of splits."""

OTHERS = ("path", "images", "gold", "delimiter", "name")
"""The options beside those that name columns."""

_SPLITS = 100
_OF_A_CASE = {"id", "images", "question", "answer", "group", "source", "split"}


class TableSource(Source):
    """Cases from a table.

    Args:
        options: `path`, and what of the others is said.

    Attributes:
        rows: the table. columns: what each column is.

    Raises:
        UserError: an unknown option, no such file or column, or a table that cannot be read.
    """

    name = "table"
    splits: tuple[str, ...] = ()

    def __init__(self, **options: str) -> None:
        check_known(self.name, options, OTHERS)
        if "path" not in options:
            raise UserError("the source table needs a file; fix: write table,path=FILE.csv:all")
        self.path = Path(options["path"]).expanduser()
        self.rows = Rows([TableFile(self.path, options.get("delimiter"))])
        if set(self.rows.names) >= _OF_A_CASE:
            raise UserError(
                f"{self.path} is a file of cases already; fix: name it by itself, without "
                "table,path="
            )
        name = options.get("name", self.name)
        columns, self.told = described(self.path, self.rows.names, options, name)
        self.columns = read(self.rows, columns, self.told, "type" in options)
        self.find = ImageFolder(options.get("images"), self.path)
        self.splits = splits_in(self.rows, self.columns)

    def reader(self, split: str) -> RowReader:
        """What makes the cases of a split."""
        images = TableImages(self.rows, self.columns, self.find.refs)
        return RowReader(self.rows, self.columns, self.told, split, images, self.path.stem)

    def cases(self, split: str) -> Sequence[Case]:
        """The cases of a split, made when they are asked for."""
        return cases_in(self.reader(split), self.rows, self.columns, split)


def check_known(source: str, options: Mapping[str, str], others: Sequence[str]) -> None:
    """Refuse an option that there is none of."""
    known = (*others, *GUESSES)
    for option in options:
        if option not in known:
            raise unknown(f"option of the source {source}", option, known)


def described(
    path: str | Path,
    names: Sequence[str],
    options: Mapping[str, str],
    name: str,
    without: Sequence[str] = (),
) -> tuple[Columns, Told]:
    """What the columns of a table are, and what is said of all its rows.

    A modality, a language or an answer type that is no column is that of all rows.

    Args:
        path: by which errors name the table.
        names: of its columns.
        options: those of a spec.
        name: how the ids of its cases begin.
        without: kinds of columns that are not guessed.

    Raises:
        UserError: a column that is named is missing, or none can be found.
    """
    gold = options.get("gold", "text")
    if gold not in GOLD:
        raise unknown("gold", gold, GOLD)
    said: dict[str, str] = {}
    for kind in ("type", "modality", "language"):
        value = options.get(kind)
        if value is not None and value not in names and value != "-":
            said[kind] = value
    kind_of_answer: AnswerType | None = None
    if "type" in said:
        kind_of_answer = type_named(said["type"])
        if kind_of_answer is None:
            known = (*get_args(AnswerType), *names)
            raise unknown("answer type or column", said["type"], known)
    given = {kind: options[kind] for kind in GUESSES if kind in options and kind not in said}
    columns = columns_of(path, names, given, (*said, *without))
    language = said.get("language", "en")
    return columns, Told(name, gold, kind_of_answer, modality(said.get("modality", "")), language)


def splits_in(rows: Rows, columns: Columns) -> tuple[str, ...]:
    """The splits of a table, in the order in which they stand there.

    Raises:
        UserError: a row has none, or there are too many.
    """
    import pyarrow.compute

    if not columns.split:
        return (WHOLE,)
    (name,) = columns.split
    found = pyarrow.compute.unique(rows.table.column(name)).to_pylist()
    if len(found) > _SPLITS:
        raise UserError(
            f"{rows.path} has {len(found):,} splits (column {name!r}); fix: write split=COLUMN, or "
            "split=- where it has none"
        )
    splits = tuple(dict.fromkeys(each.strip() for each in found))
    if "" in splits:
        blank = next(each for each in found if not each.strip())
        row = pyarrow.compute.index(rows.table.column(name), blank).as_py()
        raise UserError(
            f"{rows.place(row)} has no split (column {name!r}); fix: write one, or split=- "
            "for a table without splits"
        )
    return splits or (WHOLE,)


def cases_in(reader: RowReader, rows: Rows, columns: Columns, split: str) -> Sequence[Case]:
    """The cases of the rows of a split; of all rows where there is no column of splits."""
    import numpy as np
    import pyarrow.compute

    numbers: Sequence[int] = range(len(rows))
    good = rows.good
    if columns.split and len(rows):
        column = pyarrow.compute.utf8_trim_whitespace(rows.table.column(columns.split[0]))
        chosen = where(pyarrow.compute.is_in(column, value_set=texts(split)))
        numbers = cast("Sequence[int]", chosen)
        good = None if good is None else good[chosen]
    found = cases_of(reader, numbers, None if good is None else np.flatnonzero(~good).tolist())
    give_back()
    return found


def read(rows: Rows, columns: Columns, told: Told, is_type_said: bool) -> Columns:
    """Read a table, and give its columns without one that was only guessed to say the type of an
    answer, and says another one."""
    import pyarrow.compute

    for kind, names in columns.items():
        for each in names:
            if kind not in ("image", "unused") and each in rows.files[0].images:
                raise UserError(
                    f"{rows.path}: the column {each!r} holds images, so it is no {kind}; fix: "
                    f"write {kind}=COLUMN"
                )
    rows.read(look_at(rows, columns, told))
    if not columns.type or is_type_said:
        return columns
    found = pyarrow.compute.unique(rows.table.column(columns.type[0])).to_pylist()
    if all(not word.strip() or type_named(word) for word in found):
        return columns
    return replace(columns, type=(), unused=(*columns.unused, *columns.type))
