"""The checks of `medgym doctor` on episodes: images on their way, log-probabilities, sight.

Sight is judged on gold answers: how much likelier is the right answer with the case's own images
than with those of a case with another answer? A model that does not depend on its images at all is
blind; one that hardly does is as good as blind; one whose dependence favours wrong answers, beyond
chance, learned from other images; one whose dependence favours no answer sees without
understanding. The first three fail: the last one is every model that has not been taught the task.
"""

from collections.abc import Sequence
from itertools import chain, islice

import numpy as np
from scipy.special import expit, stdtrit

from medgym.cases import Case
from medgym.errors import RunError, UserError
from medgym.metrics.recorded_tokens import KINDS, hold_images
from medgym.metrics.sight import FAR, NEAR, Agreement, Sight, agreement_on, sight
from medgym.storage.manifest import FORMAT
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory, validate

from ..grpo.batch import row_of
from .checks import Check
from .subject import Subject, pictures, played

LOST = "images are lost on the way: see where the numbers part, from tool to message to model"

FLOOR = 0.01
"""Nats by which the answer must move, on average, for a model that is not as good as blind: a
hundredth of its probability."""

LEVEL = 0.95
"""Of the confidence interval."""

SURE = 0.999
"""Of the interval that lies below chance where images speak against the right answers. An untrained
model may be below it by chance; only what learned something wrong is so with this certainty."""

RECORDS = 500
"""Trajectories of a run that are read again at most, evenly over what it recorded."""


def images(subject: Subject) -> Check:
    """Whether every view that a tool makes reaches the model: made, shown, written, encoded."""
    figure: dict[str, float | int | str]
    failed = [each.failure for each in subject.shown if each.failure is not None]
    if failed:
        figure = {"failed": len(failed), "of": len(subject.shown), "error": failed[0]}
        return Check("images", "fail", figure, LOST if _of_images(failed[0]) else "see the error")
    kept = pictures(subject.shown)
    made = shown = written = encoded = 0
    for case, trajectory in played(subject.shown):
        row = row_of(trajectory, kept)
        made += len(case.images) + len(trajectory.looks)
        shown += sum(len(node.images) for node in trajectory.nodes)
        written += (row.prompt + row.completion).count(trajectory.vision_token_ids[0])
        if row.images:
            encoded += subject.policy.count_image_features(row.images)
    figure = {"made": made, "shown": shown, "placeholders": written, "features": encoded}
    try:
        hold_images(played(subject.shown))
    except RunError as error:
        figure["error"] = str(error).partition("; fix: ")[0]
    passed = "error" not in figure and written == encoded
    return Check("images", "pass" if passed else "fail", figure, "" if passed else LOST)


def _of_images(failure: str) -> bool:
    return "invariant 3" in failure or "image" in failure.lower()


def agreement(subject: Subject) -> Check:
    """Whether sampler and trainer give the same tokens the same log-probabilities."""
    policy = subject.policy
    found = agreement_on(policy, subject.own, banned=policy.vision_token_ids)
    return agrees(found)


def agrees(found: Agreement) -> Check:
    """What the distance of sampler and trainer says."""
    figure: dict[str, float | int | str] = {"kl": found.kl(), "max abs": found.max_abs()}
    for kind in (kind for kind in KINDS if kind in found.ratios):
        figure |= {f"kl {kind}": found.kl(kind), f"max abs {kind}": found.max_abs(kind)}
    worst = max((found.kl(kind) for kind in found.ratios), default=0.0)
    if not found.ratios:
        return Check("agreement", "warn", figure, "nothing was sampled: give more cases")
    if worst <= NEAR:
        return Check("agreement", "pass", figure)
    fix = "see that both are given the same images, adapter and precision, and set dropout to 0"
    return Check("agreement", "warn" if worst <= FAR else "fail", figure, fix)


def sees(subject: Subject) -> Check:
    """Whether gold answers lose probability without their images."""
    changes = [
        change
        for shown in (subject.shown, subject.led)
        for change in sight(subject.policy, played(shown), pictures(shown)).changes
    ]
    return verdict_of(Sight(tuple(changes)))


def verdict_of(seen: Sight) -> Check:
    """What the figures of gold answers say about the model.

    `match` is the mean of 1 / (1 + exp(-d)), d being what the right answer loses when images are
    exchanged: how often one would tell the own images from the others by the right answer. Chance
    is a half. Unlike the mean of d it is not ruled by the few answers that a model is sure of.
    """
    groups: dict[str, list[float]] = {}
    for change in seen.changes:
        if "answer" in change.exchanged:
            groups.setdefault(change.group, []).append(float(expit(change.exchanged["answer"])))
    if len(groups) < 2:
        fix = "give cases of two patients at least, with images: --cases"
        return Check("sight", "warn", {"patients": len(groups)}, fix)
    # The cases of one patient are not independent of each other.
    matches = [float(np.mean(values)) for values in groups.values()]
    low, match, high = _interval(matches, LEVEL)
    figure = {
        "match": match,
        "low": low,
        "high": high,
        "exchanged": float(np.mean(seen.exchanged)),
        "blanked": float(np.mean(seen.blanked)),
        "moved": float(np.mean([abs(v) for v in (*seen.exchanged, *seen.blanked)])),
        "patients": len(groups),
    }
    if seen.still:
        fix = (
            "the model is blind: its answers do not depend on the images; see that image features "
            "reach the language model (an untrained projector, weights that were not loaded)"
        )
        return Check("sight", "fail", figure, fix)
    if figure["moved"] < FLOOR:
        fix = (
            "the model is as good as blind: its answers hardly depend on the images; train the "
            "projector and the vision tower first, or choose a model that was"
        )
        return Check("sight", "fail", figure, fix)
    if _interval(matches, SURE)[2] < 0.5:
        fix = (
            "its images speak against the right answers: it learned from images that were "
            "exchanged, or from wrong answers; see which images its training rows showed"
        )
        return Check("sight", "fail", figure, fix)
    if low <= 0.5:
        fix = (
            "it sees, but not what is asked: its images do not speak for the right answers; expect "
            "that before a cold start, and give more --cases to be sure"
        )
        return Check("sight", "warn", figure, fix)
    return Check("sight", "pass", figure)


def _interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """The mean of independent values between the ends of Student's interval of it."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = error * float(stdtrit(len(values) - 1, (1 + level) / 2))
    return mean - reach, mean, mean + reach


def records(subject: Subject) -> Check:
    """Whether a run's recorded trajectories hold, with every image that they show."""
    run = subject.run
    assert run is not None
    if run.manifest.get("format") != FORMAT:
        figure: dict[str, float | int | str] = {"format": str(run.manifest.get("format"))}
        return Check("records", "warn", figure, f"this version reads records of format {FORMAT}")
    folders = sorted({part.parent for part in (run.path / "trajectories").rglob("part-*.parquet")})
    total = sum(len(TrajectoryStore(folder)) for folder in folders)
    every = chain.from_iterable(TrajectoryStore(folder) for folder in folders)
    figure = {"of": total}
    if not total:
        return Check("records", "warn", figure, "the run has recorded nothing yet")
    read = 0
    missing: set[str] = set()
    looked: set[str] = set()
    for trajectory in islice(every, 0, None, -(-total // RECORDS)):
        read += 1
        try:
            validate(trajectory)
            hold_images([(case, trajectory) for case in _case_of(subject, trajectory)])
        except RunError as error:
            said, _, fix = str(error).partition("; fix: ")
            return Check("records", "fail", {"read": read, **figure, "error": said}, fix or LOST)
        uses = {use.sha256 for node in trajectory.nodes for use in node.images} - looked
        looked |= uses
        missing |= {name for name in uses if not run.images.has(name)}
    figure = {"read": read, **figure, "images": len(looked), "missing": len(missing)}
    if missing:
        fix = f"images are lost: copy the run's images/ (as {min(missing)[:12]}…)"
        return Check("records", "fail", figure, fix)
    return Check("records", "pass", figure)


def _case_of(subject: Subject, trajectory: Trajectory) -> list[Case]:
    for cases in subject.known:
        try:
            return [cases.find(trajectory.case_id)]
        except UserError:
            continue
    return []
