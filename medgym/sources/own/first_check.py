"""The first look at a user's own table: what each column is taken for, and what cannot be used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from medgym.case_spec import write_spec
from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, open_study
from medgym.sources.own.cases import gold_form
from medgym.sources.own.images import missing
from medgym.sources.own.table import TableSource
from medgym.sources.rows import Dropped, RowCases
from medgym.uris import file_path

LOOKED_AT = 10_000
"""Cases of a split whose image files are looked for."""


@dataclass
class SplitCheck:
    """What a split of a table has.

    Attributes:
        spec: that names it.
        rows, cases: how many of its rows make cases.
        dropped: the other rows.
        images, lost: how many image files were looked for, and those that are not there.
        first: its first case.
        error: why there is no case at all.
    """

    spec: str
    rows: int = 0
    cases: int = 0
    dropped: Sequence[Dropped] = ()
    images: int = 0
    lost: list[str] = field(default_factory=list)
    first: Case | None = None
    error: str = ""


@dataclass
class FirstCheck:
    """What was found in a table.

    Attributes:
        rows: how many it has.
        delimiter: between its cells; None where it is not CSV or TSV.
        columns: the columns of each kind that it has.
        unused: the others.
        gold: how the right option is given: text, letter or index; None without options.
        spec: of the table, without a split.
        splits: what each split has.
        shown: of the first image, what it is, or why it cannot be opened.
    """

    rows: int
    delimiter: str | None
    columns: Mapping[str, Sequence[str]]
    unused: Sequence[str]
    gold: str | None
    spec: str
    splits: Mapping[str, SplitCheck]
    shown: str


def first_check(path: str, options: Mapping[str, str]) -> FirstCheck:
    """Look at a table.

    Args:
        path: of the table.
        options: of the source `table`, such as `answer`, where a guess would be wrong.

    Raises:
        UserError: it cannot be read, or has no column for something that is needed.
    """
    given = {"path": path, **options}
    source = TableSource(**given)
    form = None
    if source.columns.options:
        form = options.get("gold") or gold_form(source.reader(source.splits[0]))
        if form != source.told.gold:
            given["gold"] = form
            source = TableSource(**given)
    spec = write_spec("table", given.items())
    splits = {
        split: _split(source, split, write_spec("table", given.items(), split))
        for split in source.splits
    }
    first = next((each.first for each in splits.values() if each.first is not None), None)
    return FirstCheck(
        rows=len(source.rows),
        delimiter=source.rows.files[0].delimiter,
        columns={
            kind: names for kind, names in source.columns.items() if names and kind != "unused"
        },
        unused=source.columns.unused,
        gold=form,
        spec=spec,
        splits=splits,
        shown=_shown(first),
    )


def _split(source: TableSource, split: str, spec: str) -> SplitCheck:
    try:
        found = source.cases(split)
    except UserError as error:
        return SplitCheck(spec, error=str(error))
    assert isinstance(found, RowCases)
    seen: dict[tuple[str, str | None], bool] = {}
    for ref in _images(found):
        if (ref.uri, ref.member) not in seen:
            seen[ref.uri, ref.member] = missing(ref)
    return SplitCheck(
        spec,
        rows=len(found.rows),
        cases=len(found),
        dropped=found.dropped,
        images=len(seen),
        lost=[_path(*each) for each, is_missing in seen.items() if is_missing],
        first=found[0] if found else None,
    )


def _path(uri: str, member: str | None) -> str:
    return f"{file_path(uri)}" + ("" if member is None else f", {member}")


def _images(found: RowCases[int]) -> Iterator[ImageRef]:
    for case in islice(found, LOOKED_AT):
        yield from case.images


def _shown(case: Case | None) -> str:
    if case is None or not case.images:
        return "none"
    try:
        planes = open_study(case.images[0]).planes
    except UserError as error:
        return str(error)
    parts = [
        f"{name} of {plane.size[0]} x {plane.size[1]} pixels"
        + (f", {plane.count} of them" if plane.count > 1 else "")
        for name, plane in planes.items()
    ]
    return "; ".join(parts)


def beside(lost: str) -> str | None:
    """A file that may be meant by one that is not there: the same name with another ending."""
    path = Path(lost)
    if not path.parent.is_dir():
        return None
    same = [each.name for each in path.parent.iterdir() if each.stem == path.name or (
        each.name.casefold() == path.name.casefold())]  # fmt: skip
    return min(same, default=None)
