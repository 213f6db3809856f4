"""What a source of cases is: named splits of lazy cases, and the images that its URIs name."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from medgym.case_checks.report import CheckRow
from medgym.cases import Case
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef, ImagingStudy, Study


class Source(ABC):
    """A source of cases, registered in the entry-point group `medgym.sources`.

    It is built from the options of a case spec (`phantom,look=ct:train` builds it with `look="ct"`)
    and raises `UserError` on one that it does not know. A source must never put one `group` into
    two of its splits; where a published data set does, `leaks` says so.
    """

    name: ClassVar[str]
    splits: tuple[str, ...]
    """Where they depend on what is read, this is empty in the class and set when it is made."""

    view_sizes: tuple[int, ...] | None = None
    """The sides of view at which its images may be shown; None where any will do."""

    all_gold: ClassVar[bool] = False
    """Whether each of its cases has an answer or a region. Where a source says so, training need
    not make all cases to find it out before it begins."""

    groups_apart: ClassVar[bool] = False
    """Whether no group can be in two of its splits, whatever is read. Where a source says so, its
    cases are not compared before training."""

    checked_cases: ClassVar[int | None] = None
    """How many cases of a split `medgym cases check` looks at unless it is told; None for all."""

    def __init__(self) -> None:  # noqa: B027 - a source without options needs nothing here
        pass

    @abstractmethod
    def cases(self, split: str) -> Sequence[Case]:
        """The cases of one of `splits`, made when they are indexed."""

    def split_error(self, split: str) -> UserError:
        """What is said of a split that is none of `splits`. A source overrides it to say why a
        part of its data must not be used."""
        name = getattr(self, "name", type(self).__name__)
        return unknown(f"split of {name}", split, self.splits)

    def notes(self, split: str) -> tuple[str, ...]:
        """What every result that uses a split has to say of it: that it shares patients with
        another one, as it was published, or that the copy is not the published one. A sentence
        each, without a full stop."""
        return ()

    def check(self, splits: Mapping[str, Sequence[Case]], *, quick: bool) -> Iterable[CheckRow]:
        """What this source itself can check of its cases, beside what `medgym cases check` looks
        at in all: a row for each check.

        Args:
            splits: the cases that are checked, by split.
            quick: leave out what takes long.
        """
        return ()

    def leaks(self, split: str) -> tuple[str, ...]:
        """Those of `notes` that declare what a split shares with others, as it was published.

        Training on one split and judging on another that shares its groups is refused. Where the
        leak is declared it is not; the results carry the counts and the declaration then."""
        return ()

    @classmethod
    def open_image(cls, ref: ImageRef) -> Study | ImagingStudy:
        """Open an image whose URI scheme is this source's name: decoded, or, where it has several
        planes or indices, as a study that reads them when they are asked for. The plane, the index
        and the slab of `ref` are left to the caller."""
        raise UserError(f"the source {cls.name!r} opens no images, so it cannot open {ref.uri!r}")


def chosen(option: str, given: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The values that an option of a case spec names, joined by `+`; all known ones for None."""
    if given is None:
        return known
    values = given.split("+")
    for value in values:
        if value not in known:
            raise unknown(option, value, known)
    if len(set(values)) < len(values):
        raise UserError(f"{option}: {given} names a value twice; fix: name each once")
    return tuple(values)
