"""Cases that are learned from and judged by: the same case, or another one of the same patient.

Two cases are the same where they have one id, or ask one question about images of the same content.
Two that belong to one `group` (a patient, a study, an image) are as good as the same: what was
learned of one answers the other.

What cannot overlap is not read: the splits of a source that says so (`Source.groups_apart`), and
two sources, which share no id. Of what remains, ids and groups are compared first, and contents
only of cases that lie in files.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medgym.case_spec import file_named, parse_spec
from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.registry import load
from medgym.uris import file_path

from ..data.order import GoldCases

ALLOWED = "allowed"


@dataclass(frozen=True)
class SharedCases:
    """What the cases of two tables share.

    Attributes:
        held_out: the table whose cases should be new. learned: the other one.
        of: how many cases are held out.
        cases: how many of them are also in the other table. groups: how many more belong to a group
            of the other table.
        first: the id of the first of all these.
        declared: what their source declares of it, where it is a leak of the published splits; then
            it is not refused.
    """

    held_out: str
    learned: str
    of: int
    cases: int
    groups: int
    first: str
    declared: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f" (declared: {'; '.join(self.declared)})" if self.declared else ""
        if self.cases:
            more = f", and {self.groups} more share a group" if self.groups else ""
            return (
                f"{self.held_out} shares {self.cases} of its {self.of} cases with {self.learned}"
                f"{more} (the first is {self.first})"
            )
        return (
            f"{self.groups} of the {self.of} cases of {self.held_out} share a group, such as a "
            f"patient, with {self.learned} (the first is {self.first}){said}"
        )

    def as_dict(self) -> dict[str, Any]:
        """As `results.json` holds it."""
        return asdict(self)


def refuse(overlaps: Sequence[SharedCases]) -> None:
    """Refuse what is learned from and judged by.

    A group that two splits share as they were published is no fault of the recipe: where their
    source declares it, the results carry it.

    Raises:
        UserError: there is an overlap that no source declares.
    """
    for each in overlaps:
        if each.declared and not each.cases:
            continue
        raise UserError(
            f"{each}; fix: choose other cases (of a published set those of a split called -clean), "
            f'or set [cases] overlap = "{ALLOWED}", which the results will say'
        )


def overlap_of(
    held_out: GoldCases, learned: GoldCases, names: tuple[str, str]
) -> SharedCases | None:
    """What two lists of cases share; None where they share nothing.

    Args:
        names: the names of their tables, of `held_out` first.
    """
    same: set[str] = set()
    related: set[str] = set()
    declared: dict[str, None] = {}
    all_declared = True
    for mine in held_out.parts:
        for other in learned.parts:
            if _apart(mine.spec, other.spec):
                continue
            keys = list(mine.case_keys())
            ids, groups = {key.id for key in keys}, {key.group_key for key in keys if key.group}
            hit_ids: set[str] = set()
            hit_groups: set[tuple[str, str]] = set()
            for key in other.case_keys():
                if key.id in ids:
                    hit_ids.add(key.id)
                if key.group_key in groups:
                    hit_groups.add(key.group_key)
            same |= hit_ids
            related |= {key.id for key in keys if key.group_key in hit_groups}
            if hit_groups:
                found = _declared(mine, other)
                declared |= dict.fromkeys(found)
                all_declared = all_declared and bool(found)
            if _is_file(mine.spec) and _is_file(other.spec):
                same |= {case.id for case in same_content(mine.listed, other.listed)}
    related -= same
    if not same and not related:
        return None
    first = next(key.id for key in held_out.case_keys() if key.id in same | related)
    said = tuple(declared) if all_declared else ()
    return SharedCases(*names, len(held_out), len(same), len(related), first, said)


def shared_ids(one: GoldCases, other: GoldCases) -> list[str]:
    """The ids that two lists of cases share, in the order of the first."""
    if _apart(one.spec, other.spec):
        return []
    ids = {key.id for key in other.case_keys()}
    return [key.id for key in one.case_keys() if key.id in ids]


def same_content(cases: Sequence[Case], others: Sequence[Case]) -> Iterator[Case]:
    """Those of `cases` of which one of `others` asks the same about images of the same content.

    An image's content is read only where the questions, and the sizes of the files, are the same.
    """
    known: defaultdict[tuple[object, ...], list[Case]] = defaultdict(list)
    for case in others:
        known[_outside(case)].append(case)
    for case in cases:
        alike = known.get(_outside(case), ())
        if alike and _inside(case) in {_inside(other) for other in alike}:
            yield case


def _outside(case: Case) -> tuple[object, ...]:
    """What shows of a case without reading its images."""
    return (case.question, case.options, case.context, *map(_size, case.images))


def _inside(case: Case) -> tuple[object, ...]:
    """The contents of a case's images."""
    return tuple((_hash(_place(image)) or image.uri, *_part(image)) for image in case.images)


def _size(image: ImageRef) -> object:
    place = _place(image)
    return image.uri if place is None else (place.stat().st_size, *_part(image))


def _part(image: ImageRef) -> tuple[object, ...]:
    """Which image of a file or a folder it is."""
    return image.member, image.frame, image.series, image.plane, image.index


def _place(image: ImageRef) -> Path | None:
    """The file of an image, if it is one that is there."""
    path = file_path(image.uri)
    return path if path is not None and path.is_file() else None


@cache
def _hash(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _apart(one: str, other: str) -> bool:
    """Whether two specs cannot name a case or a group in common."""
    if _is_file(one) or _is_file(other):
        return False
    here, there = parse_spec(one), parse_spec(other)
    if here.source != there.source:
        return True
    return here.split != there.split and bool(load("sources", here.source).groups_apart)


def _declared(one: GoldCases, other: GoldCases) -> tuple[str, ...]:
    """What the source of two lists declares of both their splits; nothing for one split."""
    if _is_file(one.spec) or _is_file(other.spec):
        return ()
    if parse_spec(one.spec).split == parse_spec(other.spec).split:
        return ()
    return tuple(leak for leak in one.listed.leaks if leak in other.listed.leaks)


def _is_file(spec: str) -> bool:
    return file_named(spec) is not None
