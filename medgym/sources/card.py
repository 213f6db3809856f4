"""The card of a published data set: what it is, under which licence, and what its splits hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Origin = Literal["counted", "card", "inferred"]
"""Where a count comes from.

counted: from the published files. card: from the data set's own page or paper. inferred: from other
counts; an error says so."""


@dataclass(frozen=True)
class SplitCounts:
    """What a published split holds.

    Attributes:
        rows: of the published file, those that make no case among them; None where nobody has
            counted them.
        images: different images, by the name or the content that the set itself has for them; None
            where nobody has counted them.
        types: rows by the type of answer that the set's own annotation says, by its own names
            (`{"OPEN": 645, "CLOSED": 416}`); empty where it has none.
        origin: where these counts come from.
    """

    rows: int | None
    images: int | None = None
    types: Mapping[str, int] = field(default_factory=dict)
    origin: Origin = "counted"


@dataclass(frozen=True)
class PublishedFile:
    """A file of a published data set.

    Attributes:
        path: where it lies in the repository, and in a local copy.
        sha256, md5, size: of the published file, where they are known. A file that is fetched from
            the Hub is also held to the hash that the Hub has for it.
        url: where it is fetched from, if not from the repository.
        optional: whether the cases can be read without it.
    """

    path: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    optional: bool = False
    md5: str | None = None


@dataclass(frozen=True)
class Card:
    """What a published data set is.

    Attributes:
        name: by which medgym knows it: `vqa-rad`.
        title: its full name.
        home: its page.
        repo: its id on the Hugging Face Hub; None where it is not there.
        revision: the commit, tag or branch that is fetched and was counted.
        gated: whether the Hub asks for consent and a token.
        licence: of questions and images, in words.
        citation: how its authors ask to be cited.
        splits: what each published split holds, by its name; where an option of the source chooses
            among copies or versions, by `OPTION=VALUE:SPLIT`.
        files: what is fetched; a path may have a `*`.
        grouping: in words, what a case's group is.
        faults: what is wrong in the published files, and what medgym does about each.
        leaks: what two of its splits share.
        layout: in words, what a local copy looks like.
    """

    name: str
    title: str
    home: str
    repo: str | None
    revision: str
    licence: str
    citation: str
    splits: Mapping[str, SplitCounts]
    files: tuple[PublishedFile, ...]
    grouping: str
    layout: str
    faults: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    gated: bool = False
