"""What a walk through the cases of some splits finds, before any image is opened."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from medgym.case_checks.regions import RegionFindings
from medgym.case_checks.report import NAMED, CheckRow, listed
from medgym.cases import Case, CaseList, normalised
from medgym.imaging.study import ImageRef
from medgym.scorable import equal_options, unscorable


@dataclass(frozen=True)
class SeenCase:
    """What is kept of a case.

    Attributes:
        question, asked, gold: hashes: of the question with its options; of that with all else that
            a policy is shown, and the split; of the answers that are right.
    """

    split: int
    id: str
    group: tuple[str, str]
    question: bytes
    images: tuple[ImageRef, ...]
    asked: bytes
    gold: bytes


@dataclass
class Findings:
    """Args:
    splits: the cases by split; `walk` goes through them once.
    """

    splits: Mapping[str, CaseList]
    cases: list[SeenCase] = field(default_factory=list)
    unscorable: list[tuple[str, str]] = field(default_factory=list)
    equal_options: list[str] = field(default_factory=list)
    repeated_ids: list[str] = field(default_factory=list)
    blank_groups: list[str] = field(default_factory=list)
    regions: RegionFindings = field(default_factory=RegionFindings)

    @property
    def names(self) -> list[str]:
        """The names of the splits, by number."""
        return list(self.splits)

    def walk(self) -> Iterator[SeenCase]:
        """Every case, looked at when it is asked for."""
        ids: set[str] = set()
        for number, cases in enumerate(self.splits.values()):
            for case in cases.unchecked:
                if case.id in ids:
                    self.repeated_ids.append(case.id)
                ids.add(case.id)
                yield self._seen(number, case)

    def _seen(self, split: int, case: Case) -> SeenCase:
        reason = unscorable(case)
        if reason is not None:
            self.unscorable.append((case.id, reason))
        if equal_options(case):
            self.equal_options.append(case.id)
        if not case.group.strip():
            self.blank_groups.append(case.id)
        self.regions.add(case)
        asked = "\n".join((normalised(case.question), *case.options))
        question = _digest(asked)
        golds = sorted({normalised(gold) for gold in case.golds})
        whole = (asked, normalised(case.context), str(split), *map(repr, case.images))
        images = tuple(ref.model_copy(update={"role": "current"}) for ref in case.images)
        group, gold = (case.source, case.group), _digest("\n".join(golds))
        seen = SeenCase(split, case.id, group, question, images, _digest("\n".join(whole)), gold)
        self.cases.append(seen)
        return seen

    def rows(self, declared: Sequence[str]) -> Iterator[CheckRow]:
        """What was found. What shares groups, and says so, is a warning."""
        counts = Counter(case.split for case in self.cases)
        figure = ", ".join(f"{name} {counts[n]:,}" for n, name in enumerate(self.names))
        yield CheckRow("cases can be made", "pass", figure)
        yield dropped_row(self.splits)
        yield listed("each case can be scored", self.unscorable, len(self.cases))
        repeated = [(each, "") for each in self.repeated_ids]
        yield listed("each id is there once", repeated, len(self.cases), "give each its own id")
        blank = [(each, "") for each in self.blank_groups]
        fix = "say whose each image is: without it no split can be held apart"
        yield listed("each case has a group", blank, len(self.cases), fix)
        same = [(each, "") for each in self.equal_options]
        yield listed("options differ", same, len(self.cases), "", "warn")
        yield self._golds()
        if len(self.splits) > 1:
            yield self._groups(declared)
            yield self._questions()

    def _golds(self) -> CheckRow:
        first: dict[bytes, SeenCase] = {}
        other = []
        for case in self.cases:
            one = first.setdefault(case.asked, case)
            if one.gold != case.gold:
                other.append((f"{case.id} (as {one.id})", ""))
        fix = "no policy can be right in both: keep one"
        return listed("the same question has one gold", other, len(self.cases), fix, "warn")

    def _groups(self, declared: Sequence[str]) -> CheckRow:
        where: dict[tuple[str, str], int] = defaultdict(int)
        for case in self.cases:
            if case.group[1].strip():
                where[case.group] |= 1 << case.split
        crossing = [(key[1], self.in_words(bits)) for key, bits in where.items() if several(bits)]
        return crossing_row("no group is in two splits", crossing, len(where), declared)

    def _questions(self) -> CheckRow:
        where: dict[bytes, int] = defaultdict(int)
        for case in self.cases:
            where[case.question] |= 1 << case.split
        shared = sum(several(bits) for bits in where.values())
        return CheckRow(
            "questions that repeat across splits, whatever their image",
            "pass",
            f"{shared:,} of {len(where):,} different ones (with their options)",
        )

    def in_words(self, bits: int) -> str:
        """The splits of which bits are set: `train and test`."""
        return " and ".join(name for n, name in enumerate(self.names) if bits >> n & 1)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def several(bits: int) -> bool:
    """Whether more than one bit is set."""
    return bits.bit_count() > 1


def crossing_row(
    check: str, crossing: Sequence[tuple[str, str]], of: int, declared: Sequence[str]
) -> CheckRow:
    """A row on what is in two splits: a failure, or, where the source says so, a warning."""
    if not crossing:
        return CheckRow(check, "pass", f"0 of {of:,}")
    first = "; ".join(f"{name} in {where}" for name, where in crossing[:NAMED])
    figure = f"{len(crossing):,} of {of:,}, such as {first}"
    if declared:
        said = "; ".join(declared)
        return CheckRow(
            check, "warn", figure, f"use the splits that end in -clean; declared: {said}"
        )
    fix = "put each group into one split, or declare the leak where results can say it"
    return CheckRow(check, "fail", figure, fix)


def dropped_row(splits: Mapping[str, CaseList]) -> CheckRow:
    """The rows of files that made no case, by reason."""
    dropped = [each for cases in splits.values() for each in cases.dropped]
    if not dropped:
        return CheckRow("each row makes a case", "pass", "none was dropped")
    reasons = Counter(reason for _, reason in dropped)
    why = "; ".join(f"{count:,}: {reason}" for reason, count in reasons.most_common(NAMED))
    places = ", ".join(place for place, _ in dropped[:NAMED])
    return CheckRow(
        "each row makes a case", "warn", f"{len(dropped):,} dropped ({why})", f"see {places}"
    )
