"""Failures by kind: how many there are, and some of each with what the policy saw."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from PIL import Image

from medgym.errors import UserError
from medgym.storage.trajectories import ImageStore
from medgym.trajectory import Trajectory

from ..outcomes.answer_text import last_reply
from ..outcomes.outcome import CaseOutcome
from ..protocol import episode_address
from .parts import Example, Examples, Section, Table
from .run import ReportedRun

SHOWN = 6
"""Episodes of each kind that are shown."""

PICTURES = 3
"""Images of a case that are shown, beside the last view."""

SIDE = 160
"""The greatest side of a picture in pixels."""

LONGEST = 400
"""Characters of a text that are shown."""

QUALITY = 80


def kind_of(outcome: CaseOutcome) -> str | None:
    """What sort of failure an outcome is; None of a right answer."""
    if outcome.verdict == "right":
        return None
    if outcome.lenient_verdict == "right":
        return "right, but not in medgym's form"
    if outcome.verdict != "wrong":
        return outcome.verdict
    if not outcome.looked:
        return "wrong, never looked"
    if outcome.hit is None:
        return "wrong, looked"
    return "wrong, although it saw the finding" if outcome.hit else "wrong, looked elsewhere"


def failures(run: ReportedRun) -> Section:
    """The failures of a run by kind, the most frequent kind first."""
    counts = Counter(kind for each in run.outcomes if (kind := kind_of(each)))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    chosen = _spread(run.outcomes, dict(ordered))
    played = _played(run, [each for found in chosen.values() for each in found])
    total = len(run.outcomes)
    rows = [(kind, f"{count:,}", f"{100 * count / total:.1f} %") for kind, count in ordered]
    examples = [
        Examples(kind, counts[kind], [_example(run, each, played) for each in found])
        for kind, found in chosen.items()
    ]
    said = [
        f"Up to {SHOWN} episodes of each kind, spread evenly over the run: the images that the "
        "case began with, and the last view that a tool made. For whole episodes write the viewer "
        f"with: medgym view {run.folder.path}"
    ]
    return Section(
        f"failures-{run.name}", f"Failures of {run.name}", said if rows else (),
        [Table(("kind", "episodes", "of all"), rows)] if rows else (), (), examples,
    )  # fmt: skip


def _spread(
    outcomes: Iterable[CaseOutcome], counts: Mapping[str, int]
) -> dict[str, list[CaseOutcome]]:
    """Some outcomes of each kind, evenly spread; no others are held."""
    wanted = {
        kind: {int(place * max(1.0, count / SHOWN)) for place in range(min(SHOWN, count))}
        for kind, count in counts.items()
    }
    found: dict[str, list[CaseOutcome]] = {kind: [] for kind in counts}
    seen: Counter[str] = Counter()
    for each in outcomes:
        if kind := kind_of(each):
            if seen[kind] in wanted[kind]:
                found[kind].append(each)
            seen[kind] += 1
    return found


Played = dict[tuple[str, str, int], Trajectory]


def _played(run: ReportedRun, outcomes: Sequence[CaseOutcome]) -> Played:
    """The stored episodes of some outcomes; one at a time is in memory beside these."""
    wanted = {each.key for each in outcomes}
    found: Played = {}
    for benchmark in dict.fromkeys(each.benchmark for each in outcomes):
        for trajectory in run.store(benchmark)[1]:
            key = benchmark, trajectory.case_id, trajectory.member
            if key in wanted:
                found[key] = trajectory
                if len(found) == len(wanted):
                    return found
    return found


def _example(run: ReportedRun, outcome: CaseOutcome, played: Played) -> Example:
    trajectory = played.get(outcome.key)
    said = [f"replies: {outcome.turns}, tool calls: {outcome.calls}"]
    if outcome.failure:
        said.append(outcome.failure)
    if trajectory is not None and trajectory.faults:
        said.append(f"replies or calls refused: {', '.join(trajectory.faults)}")
    answer = outcome.answer
    if answer is None and trajectory is not None and (reply := last_reply(trajectory)):
        answer = f"none; last reply: {reply}"
    store, _ = run.store(outcome.benchmark)
    return Example(
        case=outcome.case + (f" #{outcome.member}" if outcome.member else ""),
        question=_cut(trajectory.question if trajectory else ""),
        options=[_cut(option) for option in (trajectory.options if trajectory else ())],
        gold=_cut(outcome.gold),
        answer=_cut(answer or "none"),
        said=[_cut(line) for line in said],
        pictures=list(_pictures(run, trajectory)) if trajectory else [],
        link=episode_address(store, outcome.case),
    )


def _pictures(run: ReportedRun, trajectory: Trajectory) -> Iterator[tuple[str, str]]:
    """The first images of the case and the last view, as small pictures inside the page."""
    path = trajectory.branch()
    uses = [use for node in path for use in node.images]
    first = [use for node in path[:1] for use in node.images]
    shown = [(f"view {use.view}", use.sha256) for use in first[:PICTURES]]
    if len(uses) > len(first):
        shown.append((f"last view, {uses[-1].view}", uses[-1].sha256))
    store = ImageStore(run.folder.path / "images")
    for caption, sha256 in shown:
        try:
            picture = store.get(sha256)
        except UserError:  # the run did not keep it
            continue
        yield caption, data_uri(picture)


def data_uri(picture: Image.Image) -> str:
    """A picture, made small, inside an address."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [cut]"
