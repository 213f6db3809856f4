"""`SPLIT-clean`: published splits that share images, dealt again so that no group is in two.

A group that lies in one published split stays there. The others are dealt in the order of a hash of
their names, each to the split that lacks most rows of as many as it was published with. So the
splits keep their proportions, as well as groups allow, and are the same on every machine. Rows,
gold and ids are unchanged; a case's `split` says where it is now.

Where the local copy holds the file `image-groups.json`, which `medgym cases check --out` writes,
groups whose images are near duplicates are one group.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from medgym.cases import Case, CaseList
from medgym.errors import UserError
from medgym.lazy_sequence import LazySequence

SUFFIX = "-clean"
GROUPS = "image-groups.json"


class CleanCases(LazySequence[Case]):
    """The cases of a split that was dealt again, each made when it is asked for.

    Attributes:
        dropped: the rows of the published split of that name which make no case.
    """

    def __init__(
        self, parts: Sequence[CaseList], places: Sequence[tuple[int, int]], split: str, own: int
    ) -> None:
        self.dropped = parts[own].dropped
        self._parts = parts
        self._part = array("H", (part for part, _ in places))
        self._place = array("q", (place for _, place in places))
        self._split = split

    def __len__(self) -> int:
        return len(self._part)

    def item(self, index: int) -> Case:
        """The case, of the clean split."""
        case = self._parts[self._part[index]][self._place[index]]
        return case.model_copy(update={"split": self._split})


def published(split: str) -> str:
    """The published split of which a split is the clean one; itself where it is none."""
    return split.removesuffix(SUFFIX)


def clean_cases(
    splits: Mapping[str, Sequence[Case]], split: str, merged: Mapping[str, str]
) -> CleanCases:
    """The cases of the clean version of one of several published splits.

    Args:
        splits: the published ones, in their order.
        split: the name of one, with `SUFFIX`.
        merged: another name for some groups: those of one name are one.
    """
    parts = [CaseList(cases) for cases in splits.values()]
    groups = [[merged.get(key.group, key.group) for key in part.case_keys()] for part in parts]
    home = _homes(groups)
    wanted = list(splits).index(published(split))
    places = [
        (part, place)
        for part, names in enumerate(groups)
        for place, name in enumerate(names)
        if home[name] == wanted
    ]
    return CleanCases(parts, places, split, wanted)


def _homes(groups: Sequence[Sequence[str]]) -> dict[str, int]:
    """The split of each group."""
    rows = [Counter(names) for names in groups]
    missing = [len(names) for names in groups]
    home: dict[str, int] = {}
    for name in sorted({each for names in rows for each in names}, key=_order):
        inside = [part for part, names in enumerate(rows) if name in names]
        if len(inside) == 1:
            home[name] = inside[0]
            missing[inside[0]] -= rows[inside[0]][name]
    sizes = [max(len(names), 1) for names in groups]
    for name in sorted({each for names in rows for each in names} - set(home), key=_order):
        home[name] = max(range(len(rows)), key=lambda part: missing[part] / sizes[part])
        missing[home[name]] -= sum(names[name] for names in rows)
    return home


def _order(name: str) -> tuple[bytes, str]:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), name


def read_groups(folder: Path) -> dict[str, str]:
    """What `image-groups.json` of a local copy says: another name for some groups; empty without.

    Raises:
        UserError: it has another form.
    """
    path = folder / GROUPS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise _other_form(path) from error
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise _other_form(path)
    return found


def _other_form(path: Path) -> UserError:
    return UserError(
        f'{path} is no JSON object of {{"group": "name"}}; fix: write it again by '
        "medgym cases check SOURCE --out DIR, or remove it"
    )
