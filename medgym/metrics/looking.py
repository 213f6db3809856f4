"""Whether a policy looked at the gold regions, and which errors it made."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from medgym.cases import Case, option_of
from medgym.metrics.regions import box_iou, findings, shows
from medgym.registry import names
from medgym.trajectory import Trajectory

ERRORS = {
    "E1": ("json", "call"),
    "E2": ("name",),
    "E3": ("type",),
    "E4": ("value",),
    "E5": ("form", "both", "length", "cut"),
    "E6": (),
}
"""The errors of VISTA-Gym's taxonomy (arXiv 2511.19773) by the faults that a trajectory records:

E1 a call is malformed; E2 the name of a tool or of an argument is wrong; E3 an argument has a wrong
type; E4 an argument has an impossible value; E5 the output has a wrong form, or an answer names
none of the options; E6 an answer is wrong although a tool has shown what was needed. The taxonomy
has E3 and E4 together as argument values; the distinction between them is ours."""

Played = Sequence[tuple[Case, Trajectory]]


def hit(case: Case, trajectory: Trajectory, slack_px: float = 0.5) -> bool | None:
    """Whether one look showed a whole gold region, None for a case without regions.

    A look counts if it is of the region's plane and indices (see `shows`), if its box holds the
    region's box to within `slack_px` original pixels, and if it shows the region finer than an
    overview does. An overview shows every region, but too small; a crop or an overlay of the whole
    image shows it no finer.
    """
    regions = findings(case)
    if not regions:
        return None
    return any(
        look.gain > 1
        and shows(look, region)
        and look.box_px[0] <= region.box_px[0] + slack_px
        and look.box_px[1] <= region.box_px[1] + slack_px
        and look.box_px[2] >= region.box_px[2] - slack_px
        and look.box_px[3] >= region.box_px[3] - slack_px
        for look in trajectory.looks
        for region in regions
    )


def best_iou(case: Case, trajectory: Trajectory) -> float | None:
    """The best IoU of a look's box with a gold region's, None for a case without regions."""
    regions = findings(case)
    if not regions:
        return None
    pairs = ((look, region) for look in trajectory.looks for region in regions)
    return max((box_iou(k.box_px, r.box_px) for k, r in pairs if shows(k, r)), default=0.0)


def errors(case: Case, trajectory: Trajectory) -> frozenset[str]:
    """The names of the `ERRORS` that occur in a trajectory."""
    found = {name for name, faults in ERRORS.items() if set(faults) & set(trajectory.faults)}
    answer = trajectory.answer
    if answer is not None and not trajectory.correct:
        shown = hit(case, trajectory)
        if case.options and option_of(answer, case.options) is None:
            found.add("E5")
        elif shown or (shown is None and len(trajectory.calls) > trajectory.failed_calls):
            found.add("E6")
    return frozenset(found)


def late_calls(trajectories: Iterable[Trajectory]) -> Counter[str]:
    """How many calls passed their tool's limits, by tool; those of all roles count."""
    records = (part for t in trajectories for part in (t, *(b.record for b in t.branches[:-1])))
    faults = (fault.partition(":") for record in records for fault in record.faults)
    return Counter(tool for fault, _, tool in faults if fault in ("late", "memory"))


def metrics(played: Played, tools: Sequence[str] = ()) -> dict[str, float]:
    """How a policy looked, as means over episodes. Failed episodes are omitted.

    Args:
        played: cases, each with a trajectory of it.
        tools: tools whose calls are counted even if they were never called. Calls of other names
            are counted only if the name is registered or the tool has shown something: a policy can
            call any name, and its text must not name a metric.

    Returns:
        `looking/looked`: the share of episodes in which a tool showed something.
        `looking/answered_blind`: the share that was answered without that.
        `looking/hit`: the share in which a look showed a whole gold region.
        `looking/iou`: the best box IoU of a look with a gold region. Like `looking/hit` it is over
            the cases that have regions, and absent if there are none.
        `looking/distinct_views`: how many different regions an episode looked at.
        `looking/calls/TOOL`: how many calls of a tool an episode made.
        `episode/turns`: replies in an episode.
        `episode/malformed`: the share of episodes with a reply that could not be parsed.
        `episode/cut`: the share of episodes with a reply that the token limit cut inside its
            thought; each counts as malformed as well.
        `episode/late`: the share of episodes with a call that passed its tool's deadline; absent if
            there is none.
        `episode/numbers_as_text`: the share with a call in which numbers were written as texts;
            absent if there is none.
        `episode/truncated`: the share of episodes that ran out of turns or tokens.
        `errors/E1` to `errors/E6`: the share of episodes with that error, see `ERRORS`.
    """
    pairs = [(case, trajectory) for case, trajectory in played if trajectory.failure is None]
    if not pairs:
        return {}
    trajectories = [trajectory for _, trajectory in pairs]
    known = {*names("tools"), *tools, *(look.tool for t in trajectories for look in t.looks)}
    calls = Counter(name for t in trajectories for name in t.calls if name in known)
    found = Counter(name for case, t in pairs for name in errors(case, t))
    hits = [h for case, t in pairs if (h := hit(case, t)) is not None]
    overlaps = [v for case, t in pairs if (v := best_iou(case, t)) is not None]
    totals = {
        "looking/looked": sum(bool(t.looks) for t in trajectories),
        "looking/answered_blind": sum(t.terminated and not t.looks for t in trajectories),
        "looking/distinct_views": sum(
            len({replace(look, tool="", gain=1.0) for look in t.looks}) for t in trajectories
        ),
        **{f"looking/calls/{name}": calls[name] for name in sorted({*calls, *tools})},
        "episode/turns": sum(t.turns for t in trajectories),
        "episode/malformed": sum(t.malformed > 0 for t in trajectories),
        "episode/cut": sum("cut" in t.faults for t in trajectories),
        "episode/truncated": sum(t.truncated for t in trajectories),
        **{f"errors/{name}": found[name] for name in ERRORS},
    }
    if late := sum(bool(late_calls([t])) for t in trajectories):
        totals["episode/late"] = late
    if as_text := sum(any(f.startswith("text:") for f in t.faults) for t in trajectories):
        totals["episode/numbers_as_text"] = as_text
    means = {name: total / len(pairs) for name, total in totals.items()}
    if hits:
        means["looking/hit"] = sum(hits) / len(hits)
        means["looking/iou"] = sum(overlaps) / len(overlaps)
    return means
