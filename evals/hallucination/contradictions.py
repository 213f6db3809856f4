"""Where a policy's answer contradicts what it looked at, or what it said itself.

denied      a look showed the whole gold region, and the answer is that nothing is there
misnamed    a look showed the whole gold region, and the answer is another finding
other half  a look showed the whole gold region, and the answer is the other half of the image
half not looked at
            the answer is a half of the image, and every look lay in the other one
own words   the policy had called something else its answer: in an earlier reply, or in the thought
            before its answer

A look counts if it shows more than the overview does (see `medgym.metrics.looking.hit`). Only the
questions of phantoms say for sure what an answer means, and "Is there ...?" of any set whether it
denies; of other cases only `own words` is looked for. Each share is over the episodes in which the
contradiction could have occurred.
"""

from collections.abc import Iterator, Sequence

from medgym.cases import Case, normalised
from medgym.metrics.regions import findings, shows
from medgym.sources.phantom.settings import SIDES
from medgym.trajectory import Look, Trajectory

from ..outcomes.outcome import CaseOutcome
from .findings import finding_asked
from .own_words import chosen_answer, final_answer, said_before
from .phantom_facts import PhantomFacts, asked_of, facts_of

DENIED = "denied"
MISNAMED = "misnamed"
OTHER_HALF = "other half"
NOT_LOOKED_AT = "half not looked at"
OWN_WORDS = "own words"

CONTRADICTIONS = (DENIED, MISNAMED, OTHER_HALF, NOT_LOOKED_AT, OWN_WORDS)


def contradictions(case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> dict[str, bool]:
    """The contradictions that could have occurred in an episode, and whether each did."""
    found: dict[str, bool] = {}
    chosen = chosen_answer(case, final_answer(trajectory))
    if chosen is None or not outcome.is_counted:
        return found
    facts = facts_of(case)
    asked = asked_of(case) if facts is not None else None
    if asked is None and finding_asked(case) is not None:
        asked = "presence"
    if outcome.hit and outcome.lenient_verdict in ("right", "wrong"):
        wrong = outcome.lenient_verdict == "wrong"
        if asked == "presence" and normalised(case.answer) == "yes":
            found[DENIED] = chosen == "no"
        elif asked in ("kind", "diagnosis"):
            found[MISNAMED] = chosen.partition(",")[0] != case.answer.partition(",")[0]
        elif asked == "side":
            found[OTHER_HALF] = wrong
    if facts is not None and asked == "side" and chosen in SIDES:
        halves = {half for look in _close(case, trajectory) for half in _halves(look, facts)}
        if halves:
            found[NOT_LOOKED_AT] = chosen not in halves
    said = said_before(case, trajectory)
    if said:
        found[OWN_WORDS] = any(normalised(each) != normalised(chosen) for each in said)
    return found


def _close(case: Case, trajectory: Trajectory) -> Sequence[Look]:
    """The looks that show more than the overview; of a study on an image that has a finding."""
    regions = findings(case)
    return [
        look
        for look in trajectory.looks
        if look.gain > 1 and (not regions or any(shows(look, region) for region in regions))
    ]


def _halves(look: Look, facts: PhantomFacts) -> Iterator[str]:
    """The halves of the image of which a look shows something."""
    middle = facts.width_px / 2
    if look.box_px[0] < middle - 0.5:
        yield SIDES[0]
    if look.box_px[2] > middle + 0.5:
        yield SIDES[1]
