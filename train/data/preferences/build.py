"""Pairs from the episodes of a stored run, case by case, into a folder of their own."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from medgym.cases import Case, CaseList, case_hash, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import calling
from medgym.local_model import LocalModel
from medgym.messages import ImagePart
from medgym.metrics.regions import findings
from medgym.policy import Policy
from medgym.progress import Advance
from medgym.storage.atomic import remove
from medgym.storage.trajectories import ImageStore
from medgym.trajectory import Trajectory

from ...run.held_out import Guard
from ...run.policies import check_policy
from ..order import GoldCases
from ..stored_run import StoredRun
from .builder import Group, PairBuilder, PairSource
from .folder import PairFolder, PairWriter
from .pair import Pair, fault_of, shared_of
from .relevance import confidence_of, judged
from .specs import load_builder
from .stored import GroupKey, StoredGroups

MOST = 8
"""Pairs of one case, unless another number is asked for: else easy cases rule."""


@dataclass
class PairCounts:
    """What a build came to.

    Attributes:
        cases: cases that have a pair. groups: groups that were read.
        pairs: by builder, as its spec. without: groups of which a builder made none.
        dropped: pairs by why they were dropped, and groups that were left out.
        told: whether a tool said how confident it is. relevance: how many pairs got their score
            from judges and from tools; None where no pair was scored.
    """

    cases: int = 0
    groups: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    told: bool = False
    relevance: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {
            "cases": self.cases,
            "groups": self.groups,
            "pairs": dict(self.pairs),
            "without": dict(self.without),
            "dropped": dict(self.dropped),
            **({} if self.relevance is None else {"relevance": self.relevance}),
        }


def build_pairs(
    run: Path | str,
    makes: Mapping[str, float],
    cases: str | Sequence[Case] | None,
    out: Path | str,
    *,
    seed: int = 0,
    most: int = MOST,
    student: Callable[[], LocalModel] | None = None,
    rules: Callable[[], Rules] | None = None,
    judges: Sequence[str | Policy] = (),
    held_out: Sequence[GoldCases] = (),
    on_group: Advance = lambda _=1, /, **figures: None,
) -> PairFolder:
    """Make pairs of a run's episodes and write them into a new folder.

    Args:
        run: a run's folder.
        makes: builders' specs, each with its weight: the share of all pairs that is its own, as
            far as it has so many.
        cases: those that may be learned from, by default those that the run played; episodes of
            others are left out.
        seed: everything random depends on it.
        most: pairs of one case.
        student, rules: as `PairSource` takes them; the rules are by default those of the run.
        judges: score how relevant each pair is, as `relevance.judged` takes them.
        held_out: cases that the policy will be judged by, besides those of the run's own recipe.
        on_group: is called for each group that was read.

    Raises:
        UserError: an unknown builder or option, a run without what the builders need, a test case
            among the run's, or nothing is left.
    """
    builders = {spec: load_builder(spec) for spec in makes}
    stored = StoredGroups(Path(run))
    about = StoredRun(stored.folder)
    listed = _listed(about.cases() if cases is None else cases)
    guard = Guard([*held_out, *about.held_out()], listed)
    known = _known(stored, listed, guard)
    _check_needs(builders, stored, known, student is not None)
    for judge in judges:
        if isinstance(judge, str):
            check_policy(judge)
    if most < 1:
        raise UserError(f"{most} pairs of a case are none; fix: 1 or more")
    asked = {"run": str(run), "make": dict(makes), "most": most, "seed": seed}
    if isinstance(cases, str):
        asked["cases"] = cases
    images = stored.folder.images
    writer = PairWriter(out, asked, (images,))
    try:
        source = PairSource(
            cases=list(known.values()),
            image=lambda sha256: (writer.images if writer.images.has(sha256) else images).get(
                sha256
            ),
            keep=lambda image: _keep(writer.images, image),
            seed=seed,
            student=student,
            rules=rules or (lambda: about.rules(listed)),
        )
        counts = _build(stored, known, builders, makes, source, writer, most, on_group)
        if not writer.count:
            raise nothing_left(str(run), counts)
        if judges or counts.told:
            counts.relevance = _judge(writer, judges)
    except BaseException:
        remove(Path(out))  # nothing in it can be used: it is new, and of this process
        raise
    return writer.finish(pairs=counts.as_dict(), seeds={"run": seed})


def refuse_held_out(pairs: PairFolder, held_out: Sequence[GoldCases]) -> None:
    """Make sure that pairs which were built before are of no case that is judged by.

    Raises:
        UserError: one is, or it is of the same group.
    """
    guard = Guard(held_out)
    for key in pairs.case_keys():
        guard.check_key(key)
    guard.check(pairs.cases().values())


def _build(
    stored: StoredGroups,
    known: Mapping[str, Case],
    builders: Mapping[str, PairBuilder],
    makes: Mapping[str, float],
    source: PairSource,
    writer: PairWriter,
    most: int,
    on_group: Advance,
) -> PairCounts:
    for builder in builders.values():
        builder.begin(source)
    counts = PairCounts()
    left: Counter[str] = Counter()
    run = str(stored.folder.path)
    seen: defaultdict[str, set[int]] = defaultdict(set)
    for key, episodes in stored.groups():
        on_group(1, pairs=writer.count)
        counts.groups += 1
        case = known.get(key.case_id)
        why = _unusable(key, case)
        if case is None or why is not None:
            counts.dropped[why or ""] += 1
            continue
        group = Group(case, episodes)
        room = most - left[case.id]
        made = _mixed(group, builders, makes, source, counts, room, seen[case.id])
        left[case.id] += len(made)
        if not made:
            continue
        counts.told = counts.told or any(confidence_of(pair.rejected) is not None for pair in made)
        writer.add(case, made, dict.fromkeys(map(id, episodes), run))
    counts.cases = sum(number > 0 for number in left.values())
    return counts


def _mixed(
    group: Group,
    builders: Mapping[str, PairBuilder],
    makes: Mapping[str, float],
    source: PairSource,
    counts: PairCounts,
    most: int,
    seen: set[int],
) -> list[Pair]:
    """The pairs of a group: each next one is of the builder that is furthest behind its share.

    Args:
        most: how many more the case may have. seen: what its pairs are so far, to which is added.
    """
    waiting = {
        spec: _usable(spec, builder, group, source, counts) for spec, builder in builders.items()
    }
    made: list[Pair] = []
    given: Counter[str] = Counter()
    while waiting and len(made) < most:
        spec = min(waiting, key=lambda each: (counts.pairs[each] + 1) / makes[each])
        pair = next(waiting[spec], None)
        if pair is None:
            del waiting[spec]
            if not given[spec]:
                counts.without[spec] += 1
            continue
        content = hash((_content(pair.chosen), _content(pair.rejected), pair.shared))
        if content in seen:
            counts.dropped["the same pair twice"] += 1
            continue
        seen.add(content)
        made.append(pair)
        counts.pairs[spec] += 1
        given[spec] += 1
    return made


def _usable(
    spec: str, builder: PairBuilder, group: Group, source: PairSource, counts: PairCounts
) -> Iterator[Pair]:
    """What a builder makes of a group, without pairs of which nothing can be learned."""
    name = f"the builder of pairs {spec.partition(',')[0]!r}"
    with calling(name):
        pairs = iter(builder.pairs(group, source))
    while True:
        with calling(name):
            pair = next(pairs, None)
        if pair is None:
            return
        if not pair.shared:
            pair = replace(pair, shared=shared_of(pair.chosen, pair.rejected))
        fault = fault_of(pair)
        if fault is None:
            yield pair
        else:
            counts.dropped[fault] += 1


def _content(trajectory: Trajectory) -> object:
    """What tells two episodes of a case apart."""
    return tuple(
        (node.token_ids, tuple(use.sha256 for use in node.images)) for node in trajectory.nodes
    )


def _judge(writer: PairWriter, judges: Sequence[str | Policy]) -> dict[str, Any]:
    """Score all pairs by judges and by what tools said; returns how many got their score how."""
    found = judged(writer.pairs(), judges)
    writer.rescore([pair.score for pair in found.pairs])
    return {
        "by_judges": found.by_judges,
        "by_tools": found.by_tools,
        "unscored": found.unscored,
        "unreadable": dict(found.unreadable),
    }


def _unusable(key: GroupKey, case: Case | None) -> str | None:
    """Why no pair is made of a group, as it is counted."""
    if case is None:
        return "a group of a case that was not asked for"
    if key.case_hash and key.case_hash != case_hash(case):
        return "a group of a case that has changed since"
    return None


def _listed(cases: str | Sequence[Case]) -> CaseList:
    return cases.listed if isinstance(cases, GoldCases) else open_cases(cases)


def _known(stored: StoredGroups, cases: CaseList, guard: Guard) -> dict[str, Case]:
    """The cases of a run that may be learned from, by id; a test case among them is refused."""
    known: dict[str, Case] = {}
    for case_id in stored.case_ids():
        try:
            known[case_id] = cases.find(case_id)
        except UserError:  # it is not among these
            guard.check_id(case_id)
    guard.check(known.values())
    if not known:
        raise UserError(
            f"{stored.folder.path} holds no episode of the {len(cases)} cases that were asked for, "
            f"its first is {stored.case_ids()[0]!r}; fix: name the cases that it has played"
        )
    return known


def _check_needs(
    builders: Mapping[str, PairBuilder],
    stored: StoredGroups,
    known: Mapping[str, Case],
    has_student: bool,
) -> None:
    """Refuse a run that lacks what a builder cannot do without."""
    path = stored.folder.path
    for spec, builder in builders.items():
        if "groups" in builder.needs and max(stored.sizes.values(), default=0) < 2:
            raise UserError(
                f"{path} has one episode of each case, and {spec} compares several; fix: roll it "
                "out with --group-size 8"
            )
        if "regions" in builder.needs and not any(map(findings, known.values())):
            raise UserError(
                f"no case of {path} has gold regions, which {spec} needs; fix: choose other cases, "
                "or omit it"
            )
        if "student" in builder.needs and not has_student:
            raise UserError(
                f"{spec} needs the model that learns, to put words into its tokens; fix: name it, "
                "such as --model hf:PATH"
            )
        if not has_student and set(stored.kinds) == {"text"}:
            raise UserError(
                f"the episodes of {path} have no tokens, which {spec} needs; fix: roll out a model "
                "that gives them, such as hf:PATH"
            )


def nothing_left(what: str, counts: PairCounts) -> UserError:
    """The error for a build that made no pair, with the counts by reason."""
    reasons = [f"{number} {why}" for why, number in counts.dropped.most_common()]
    reasons += [f"{number} groups without one of {spec}" for spec, number in counts.without.items()]
    return UserError(
        f"no pair can be made of {what} ({'; '.join(reasons) or 'it has no groups'}); fix: roll "
        "out more episodes of each case, or name other builders"
    )


def _keep(images: ImageStore, image: Image.Image) -> str:
    return images.put(ImagePart(0, image))
