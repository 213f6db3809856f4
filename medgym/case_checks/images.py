"""What the images of cases say: which cannot be opened, and which are in two splits."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medgym.case_checks.findings import Findings, SeenCase, crossing_row, several
from medgym.case_checks.report import NAMED, CheckRow
from medgym.imaging.study import ImageRef
from medgym.leaks.scan import Scanned
from medgym.leaks.search import near_pairs


@dataclass(frozen=True)
class CasePlace:
    """A case and the one of its images that is meant."""

    split: str
    case: str
    image: ImageRef


@dataclass(frozen=True)
class Leak:
    """Two cases of two splits that show one image.

    Attributes:
        likeness: 1 for an exact copy.
        exact: whether all values of the two are equal.
        same_question: whether the two ask the same of it.
    """

    first: CasePlace
    second: CasePlace
    likeness: float
    exact: bool
    same_question: bool

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        made = asdict(self)
        for name, place in (("first", self.first), ("second", self.second)):
            made[name]["image"] = place.image.model_dump(mode="json", exclude_defaults=True)
        return made


class ImageFindings:
    """What fingerprints say of cases.

    Args:
        found: the cases.
        scanned: the fingerprints of their images.
        near: look for near duplicates too.
    """

    def __init__(self, found: Findings, scanned: Scanned, near: bool = True) -> None:
        self._found = found
        self._scanned = scanned
        self._cases: dict[int, list[SeenCase]] = defaultdict(list)
        for case in found.cases:
            for ref in case.images:
                if ref in scanned.number:
                    self._cases[scanned.number[ref]].append(case)
        self._bits = np.zeros(len(scanned.prints), np.uint64)
        for number, cases in self._cases.items():
            self._bits[number] = sum(1 << split for split in {case.split for case in cases})
        across = len(found.splits) > 1
        pairs = near_pairs(scanned.prints, self._bits, scanned.picture) if near and across else []
        self.near = [leak for p in pairs for leak in self._leaks(p.first, p.second, p.likeness)]
        self.exact = [
            leak
            for number in sorted(self._cases)
            if several(int(self._bits[number]))
            for leak in self._leaks(number, number, 1.0)
        ]
        self._pairs = [(p.first, p.second) for p in pairs]
        self._near_images = {p.first for p in pairs} | {p.second for p in pairs}
        self._looked_for_near = near

    @property
    def leaks(self) -> list[Leak]:
        """All pairs, exact ones first, then the likest."""
        return self.exact + sorted(self.near, key=lambda leak: -leak.likeness)

    @property
    def unreadable(self) -> list[tuple[str, str, str]]:
        """The images that cannot be opened: the first case that has each, its URI, and why."""
        first: dict[ImageRef, str] = {}
        for case in self._found.cases:
            for ref in case.images:
                first.setdefault(ref, case.id)
        return [(first[ref], ref.uri, why) for ref, why in self._scanned.unreadable.items()]

    def merged_groups(self) -> dict[str, str]:
        """Another name for groups that share an image or have near duplicates, by group."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent.setdefault(name, name) != name:
                name = parent[name]
            return name

        across = {number for number, bits in enumerate(self._bits) if several(int(bits))}
        shared = [(number, number) for number in sorted(across | self._near_images)]
        for first, second in (*shared, *self._pairs):
            groups = {case.group[1] for number in (first, second) for case in self._cases[number]}
            one, *others = sorted({root(group) for group in groups})
            parent.update(dict.fromkeys(others, one))
        return {name: root(name) for name in sorted(parent) if root(name) != name}

    def rows(self, declared: Sequence[str]) -> Iterator[CheckRow]:
        """What was found. What shares images, and says so, is a warning."""
        yield self._opened()
        if len(self._found.splits) < 2:
            return
        count = len(self._scanned.prints)
        exact = [(self._name(leak), self._where(leak)) for leak in self.exact]
        yield crossing_row("no image is in two splits (exact copies)", exact, count, declared)
        if self._looked_for_near:
            near = [(self._name(leak), self._where(leak)) for leak in self.near]
            check = "no image is in two splits (near duplicates)"
            yield crossing_row(check, near, count, declared)
        asked = [(self._name(leak), self._where(leak)) for leak in self.leaks if leak.same_question]
        check = "no question about one image is in two splits"
        yield crossing_row(check, asked, len(self._found.cases), declared)

    def _opened(self) -> CheckRow:
        wrong, known = self.unreadable, len(self._scanned.number)
        count = known + len(wrong)
        if not wrong:
            return CheckRow("each image can be opened", "pass", f"all {count:,}")
        gone = self._scanned.unreadable
        hit = sum(any(ref in gone for ref in case.images) for case in self._found.cases)
        figure = f"{len(wrong):,} of {count:,} cannot be, in {hit:,} cases"
        first = "; ".join(f"{case}: {why.partition('; fix:')[0]}" for case, _, why in wrong[:NAMED])
        return CheckRow("each image can be opened", "fail", figure, f"see {first}")

    def _leaks(self, first: int, second: int, likeness: float) -> Iterator[Leak]:
        """One pair of cases for each pair of splits; one that asks the same, where there is one."""
        one, other = self._by_split(first), self._by_split(second)
        done: set[tuple[int, int]] = set()
        for a, here in one.items():
            for b, there in other.items():
                key = min(a, b), max(a, b)
                if a == b or (first == second and key in done):
                    continue
                done.add(key)
                questions = {case.question: case for case in there}
                same = next((case for case in here if case.question in questions), None)
                left = same or here[0]
                right = questions[left.question] if same else there[0]
                yield Leak(
                    self._place(left, first),
                    self._place(right, second),
                    round(likeness, 4),
                    first == second,
                    same is not None,
                )

    def _by_split(self, number: int) -> dict[int, list[SeenCase]]:
        found: dict[int, list[SeenCase]] = defaultdict(list)
        for case in self._cases[number]:
            found[case.split].append(case)
        return found

    def _place(self, case: SeenCase, number: int) -> CasePlace:
        ref = next(ref for ref in case.images if self._scanned.number.get(ref) == number)
        return CasePlace(self._found.names[case.split], case.id, ref)

    def _name(self, leak: Leak) -> str:
        return leak.first.case

    def _where(self, leak: Leak) -> str:
        return f"{leak.first.split} as {leak.second.case} in {leak.second.split}"
