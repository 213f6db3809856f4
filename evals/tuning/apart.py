"""Validation cases, worked examples and test cases must have nothing in common.

What is chosen on a case is no longer new to it. So nothing is chosen on a test split, whatever the
later comparison is on, and no case, no group (a patient, a study) and no image may be in two of the
three. Images are compared as `medgym cases check` compares them, near
duplicates included. The splits of a source that keeps groups apart by itself are not compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from medgym.case_spec import file_named, parse_spec, quoted, splits_of, write_spec
from medgym.cases import CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.leaks.kept import KeptFingerprints
from medgym.leaks.scan import scan
from medgym.leaks.search import near_pairs
from medgym.progress import progress

TEST = "test"
"""The split of a source on which policies are compared."""


@dataclass(frozen=True)
class UsedCases:
    """Cases with what they are for: `validation`, `test`, `examples`."""

    use: str
    spec: str
    cases: CaseList

    @classmethod
    def of(cls, use: str, spec: str) -> "UsedCases":
        """The cases that a spec names."""
        return cls(use, spec, open_cases(spec))

    @property
    def split(self) -> tuple[str, str] | None:
        """The source and the split; None of a file."""
        if file_named(self.spec) is not None:
            return None
        parsed = parse_spec(self.spec)
        return parsed.source, parsed.split


def spec_of_test(validation: str) -> str:
    """The cases that a policy tuned on these would be tested on: the split `test` of their source.

    Raises:
        UserError: the source has none.
    """
    fix = "fix: name the cases that the policy will be tested on by --test"
    if file_named(validation) is not None:
        raise UserError(f"{validation} does not say which cases are the test; {fix}")
    parsed = parse_spec(validation)
    bare = write_spec(parsed.source, parsed.options)
    splits = splits_of(bare)
    if TEST not in splits:
        known = f" (it has {', '.join(splits)})" if splits else ""
        raise UserError(f"{parsed.source} has no split {TEST!r}{known}; {fix}")
    return f"{bare}:{quoted(TEST)}"


def require_no_test(part: UsedCases) -> None:
    """Refuse cases of a test split, on which nothing may be chosen.

    Raises:
        UserError: the split that they name is one, or in a file a case says that it is of one.
    """
    if part.split is None:
        of_test = next((case for case in part.cases if _is_test(case.split)), None)
        if of_test is not None:
            raise UserError(
                f"{part.spec} holds test cases ({of_test.id} is of the split {of_test.split!r}), "
                "on which nothing may be chosen; fix: take cases of another split, or name their "
                "split otherwise in the file if they are not those of a test"
            )
        return
    source, split = part.split
    if not _is_test(split):
        return
    parsed = parse_spec(part.spec)
    bare = write_spec(source, parsed.options)
    others = [f"{bare}:{quoted(each)}" for each in splits_of(bare) if not _is_test(each)]
    if others:
        fix = f"take {' or '.join(others)}"
    elif source == "table":
        options = [pair for pair in parsed.options if pair[0] != "split"]
        whole = write_spec(source, [*options, ("split", "-")], "all")
        fix = f"cut the table in two, as {whole}[:100] here and {whole}[100:] by --test"
    else:
        fix = f"{source} has no other split, so take cases of another source for the search"
    raise UserError(f"{part.spec} are test cases, on which nothing may be chosen; fix: {fix}")


def _is_test(split: str) -> bool:
    return split.lower().startswith(TEST)


def require_apart(parts: list[UsedCases], kept: Path | None = None) -> None:
    """Refuse cases of different use that have a case, a group or an image in common.

    Args:
        kept: where fingerprints of images are kept while they are compared.

    Raises:
        UserError: they have.
    """
    compared = [
        (one, other) for one, other in combinations(parts, 2) if not _apart_by_source(one, other)
    ]
    for one, other in compared:
        _refuse_shared_keys(one, other)
    if compared:
        _refuse_shared_images(compared, kept)


def _apart_by_source(one: UsedCases, other: UsedCases) -> bool:
    from medgym.registry import load

    here, there = one.split, other.split
    if here is None or there is None or here[0] != there[0] or here[1] == there[1]:
        return False
    return bool(load("sources", here[0]).groups_apart)


def _refuse_shared_keys(one: UsedCases, other: UsedCases) -> None:
    ids, groups = set(), set()
    for key in other.cases.case_keys():
        ids.add(key.id)
        if key.group:
            groups.add(key.group_key)
    mine = list(one.cases.case_keys())
    for key in mine:
        if key.id in ids:
            raise _refused(one, other, f"the case {key.id}")
    for key in mine:
        if key.group and key.group_key in groups:
            raise _refused(one, other, f"the group {key.group!r}, such as a patient ({key.id})")


def _refuse_shared_images(compared: list[tuple[UsedCases, UsedCases]], kept: Path | None) -> None:
    parts = list({part.use: part for pair in compared for part in pair}.values())
    total = sum(len(part.cases) for part in parts)
    owner: dict[tuple[str, ImageRef], str] = {}
    with progress("cases", total) as advance:

        def refs() -> Iterator[ImageRef]:
            for part in parts:
                for case in part.cases:
                    for image in case.images:
                        ref = image.model_copy(update={"role": "current"})
                        owner[part.use, ref] = case.id
                        yield image
                    advance(1)

        if kept is None:
            scanned = scan(refs())
        else:
            with KeptFingerprints(kept) as fingerprints:
                scanned = scan(refs(), fingerprints)
    bit = {part.use: 1 << place for place, part in enumerate(parts)}
    masks = np.zeros(len(scanned.prints), dtype=np.uint64)
    first: dict[tuple[str, int], str] = {}
    for (use, ref), case_id in owner.items():
        number = scanned.number.get(ref)
        if number is not None:
            masks[number] |= np.uint64(bit[use])
            first.setdefault((use, number), case_id)
    near = [
        (pair.first, pair.second) for pair in near_pairs(scanned.prints, masks, scanned.picture)
    ]
    exact = [(number, number) for number in range(len(scanned.prints))]
    for one, other in compared:
        for here, there in (*exact, *near, *((b, a) for a, b in near)):
            mine, yours = first.get((one.use, here)), first.get((other.use, there))
            if mine is not None and yours is not None:
                raise _refused(one, other, f"an image ({mine} and {yours})")


def _refused(one: UsedCases, other: UsedCases, what: str) -> UserError:
    return UserError(
        f"the {one.use} cases ({one.spec}) and the {other.use} cases ({other.spec}) share {what}, "
        "so that what is chosen there is not new here; fix: choose other cases"
    )
