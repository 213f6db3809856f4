"""What the sources of published data sets have in common: a card, a local copy, asserted counts.

`NAME:SPLIT` reads the local copy of a data set, in the layout in which it is published: the folder
`DIR/NAME`, or `DIR` itself, where DIR is the option `data`, else `$MEDGYM_DATA`, else
`medgym` in the user's data folder (`~/.local/share`). `medgym cases get NAME` fetches it there.
"""

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from medgym.case_checks.report import CheckRow
from medgym.cases import Case
from medgym.errors import UserError, unknown
from medgym.source import Source
from medgym.sources.card import Card, SplitCounts
from medgym.sources.clean import SUFFIX, clean_cases, read_groups
from medgym.sources.hub.record import read_record, refuse_half
from medgym.sources.rows import RowCases

DATA = "MEDGYM_DATA"
"""The variable that names the folder of all data sets."""

COUNTS = ("published", "any")


class NoLocalCopy(UserError):
    """There is no local copy of a published data set; `name` is what fetches it."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class PublishedSource(Source):
    """A published data set.

    Args:
        data: the folder of the local copy, or the one in which it is called as the source is.
        counts: `published` refuses a copy whose counts are others than the card says; `any` reads
            it all the same, and every result that uses it says so.

    Attributes:
        folder: the local copy.

    Raises:
        UserError: there is no local copy, or only half a download.
    """

    card: ClassVar[Card]

    regrouped: ClassVar[tuple[str, ...] | None] = None
    """The splits that have a clean version, see `medgym.sources.clean`; by default all of a set
    whose card names a leak."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "card" in cls.__dict__ and "splits" in cls.__dict__:
            if "regrouped" not in cls.__dict__:
                cls.regrouped = cls.splits if cls.card.leaks and len(cls.splits) > 1 else ()
            cls.splits = (*cls.splits, *(f"{split}{SUFFIX}" for split in cls.regrouped or ()))

    def __init__(self, data: str | None = None, counts: str = "published") -> None:
        if counts not in COUNTS:
            raise unknown("counts", counts, COUNTS)
        self.counts = counts
        self.folder = local_copy(self.card, data)
        refuse_half(self.card, self.folder)

    @abstractmethod
    def load(self, split: str) -> RowCases[Any]:
        """The cases of a published split, without a look at how many there are."""

    def found_counts(self, split: str, loaded: RowCases[Any]) -> SplitCounts:
        """What a loaded split holds, counted as the card counts. Rows only, by default."""
        return SplitCounts(rows=len(loaded.rows))

    def expected_counts(self, split: str) -> SplitCounts:
        """What a split has to hold: what the card says, or what it says of the part that the
        options choose."""
        return self.card.splits[split]

    def cases(self, split: str) -> Sequence[Case]:
        """The cases of a split, whose counts are those of the card.

        Raises:
            UserError: they are others; a file is missing, or has another form.
        """
        if split.endswith(SUFFIX):
            parts = {each: self.cases(each) for each in self.regrouped or ()}
            return clean_cases(parts, split, read_groups(self.folder))
        loaded = self.load(split)
        if self.counts == "published":
            expected = self.expected_counts(split)
            differences = _differences(expected, self.found_counts(split, loaded))
            if differences:
                origin = {"counted": "", "card": " (by its page)", "inferred": " (inferred)"}
                raise UserError(
                    f"the copy of {self.card.name}:{split} in {self.folder} has "
                    f"{'; '.join(differences)}{origin[expected.origin]}; fix: fetch revision "
                    f"{self.card.revision} again (medgym cases get {self.card.name}), or write "
                    f"{self.card.name},counts=any:{split} if you mean this copy"
                )
        return loaded

    def check(self, splits: Mapping[str, Sequence[Case]], *, quick: bool) -> Iterable[CheckRow]:
        """Whether the counts of each split are those of the card."""
        for split in splits:
            if split.endswith(SUFFIX):
                continue
            wrong = _differences(
                self.expected_counts(split), self.found_counts(split, self.load(split))
            )
            yield CheckRow(
                f"the counts of {split} are those of the card",
                "fail" if wrong else "pass",
                "; ".join(wrong) or f"revision {self.card.revision}",
                f"fetch it again (medgym cases get {self.card.name})" if wrong else "",
            )

    def notes(self, split: str) -> tuple[str, ...]:
        """The leaks of the published splits, and whether the copy is or may be another one."""
        said: tuple[str, ...] = ()
        if self.counts == "any":
            said += (f"the counts of {self.card.name} were not held to those published",)
        record = read_record(self.folder)
        if record is not None and record.revision != self.card.revision:
            said += (
                f"the copy of {self.card.name} is of revision {record.revision}, and not of "
                f"{self.card.revision}, which was counted",
            )
        if not split.endswith(SUFFIX):
            return self.card.leaks + said
        by = " and by near duplicates" if read_groups(self.folder) else ""
        return (
            f"{split} is no published split: medgym dealt the groups of {self.card.name} that lie "
            f"in several of {', '.join(self.regrouped or ())} again, by group{by}",
            *said,
        )

    def leaks(self, split: str) -> tuple[str, ...]:
        """Those of the card that `notes` holds."""
        return tuple(note for note in self.notes(split) if note in self.card.leaks)

    def files(self, pattern: str) -> list[Path]:
        """The files of the local copy that a pattern with a `*` names, by their names.

        Raises:
            UserError: there is none.
        """
        return sorted(self.folder.glob(pattern)) or [self.file(pattern)]

    def file(self, *names: str) -> Path:
        """A file or folder of the local copy, by the first of the names that is there.

        Raises:
            UserError: none is there.
        """
        for name in names:
            if (self.folder / name).exists():
                return self.folder / name
        raise UserError(
            f"{self.folder} has no {' or '.join(names)}, so it is no whole copy of "
            f"{self.card.name}; fix: run medgym cases get {self.card.name} ({self.card.layout})"
        )


def data_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of all data sets."""
    named = given or os.environ.get(DATA)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "medgym"


def local_copy(card: Card, data: str | None) -> Path:
    """The folder of a data set's local copy: `DIR/NAME`, or `DIR` itself where that has its files.

    Raises:
        NoLocalCopy: there is none.
    """
    folder = data_folder(data)
    inside = folder / card.name
    if inside.is_dir():
        return inside
    if folder.is_dir() and any(_is_there(folder, file.path) for file in card.files):
        return folder
    raise NoLocalCopy(
        f"there is no copy of {card.name} in {folder}; fix: run medgym cases get {card.name} "
        f"(it shows the licence), or name your copy: {card.name},data=DIR (or ${DATA})",
        card.name,
    )


def _is_there(folder: Path, path: str) -> bool:
    names = {path, path.removesuffix(".zip")}  # a zip may have been unpacked
    return any(folder.glob(path)) if "*" in path else any((folder / n).exists() for n in names)


def _differences(expected: SplitCounts, found: SplitCounts) -> list[str]:
    """What two counts of a split differ in, of what is known of both."""
    pairs: list[tuple[str, int, int]] = []
    if expected.rows is not None and found.rows is not None:
        pairs.append(("rows", expected.rows, found.rows))
    if expected.images is not None and found.images is not None:
        pairs.append(("images", expected.images, found.images))
    if expected.types:
        names = sorted({*expected.types, *found.types})
        for name in names:
            pairs.append((f"{name} rows", expected.types.get(name, 0), found.types.get(name, 0)))
    return [f"{b:,} {what} (expected {a:,})" for what, a, b in pairs if a != b]


def counted(values: Iterable[str]) -> Mapping[str, int]:
    """How often each value occurs."""
    return Counter(values)
