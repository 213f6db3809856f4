"""`ophiuchus`: the answer, its form, and a bonus for tools that is paid only when it is right.

Source: Ophiuchus, arXiv 2512.14157, and its code. Formula:

    R = S_answer + 1[form] + 2 * 1[S_answer > 0 and a tool was used] - 0.1 * invalid replies
    S_answer = 1[right]; of a segmentation 3, 2, 1 for an IoU above 0.8, 0.7, 0.5, else 0

Departures:
- The form is our action format: a thought in every reply, calls, and an answer in the last reply.
- A tool was used where a call showed a view; Ophiuchus counts any call of its three tools that
  succeeded, all of which show one.
- A segmentation is a case of the type `region`. As in the paper, the last mask that a tool made
  (else its last box) counts, over the union of the gold masks (else boxes) of the case.
- Invalid is a reply that cannot be read or holds no thought; in the paper, one without a thought or
  in another language. Here wrong form costs only through this term; in the paper the actor pays a
  penalty on each such step.

One look anywhere earns the bonus wherever the guess is right: see `medgym train audit`.
"""

from medgym.cases import Case, Mask, Region
from medgym.episode import Episode
from medgym.messages import Malformed
from medgym.metrics.regions import findings, on_image, regions_iou
from medgym.rubric import Rubric, Term, answered_right, thought_through

STEPS = ((0.8, 3.0), (0.7, 2.0), (0.5, 1.0))
"""What a segmentation earns above which IoU."""


def ophiuchus(bonus: float = 2.0) -> Rubric:
    """Ophiuchus' reward; terms `answer`, `format`, `tool`, `invalid`.

    Args:
        bonus: what a right answer earns in addition where a tool was used; 2 in the paper.
    """
    terms = (
        Term("answer", 1.0, answered),
        Term("format", 1.0, thought_through),
        Term("tool", bonus, looked_and_right),
        Term("invalid", -0.1, invalid_replies),
    )
    return Rubric("ophiuchus", terms)


def answered(case: Case, episode: Episode) -> float:
    """1 or 0 for being right; of a case of the type `region`, what its IoU earns."""
    if case.answer_type != "region":
        return answered_right(case, episode)
    found = segmentation_iou(case, episode)
    return next((earned for least, earned in STEPS if found > least), 0.0)


def looked_and_right(case: Case, episode: Episode) -> float:
    """1 where the answer earns something and a call showed a view, else 0."""
    used = any(outcome.views for turn in episode.turns for outcome in turn.outcomes)
    return float(used and answered(case, episode) > 0)


def invalid_replies(case: Case, episode: Episode) -> float:
    """How many replies cannot be read or hold no thought."""
    actions = [turn.action for turn in episode.turns]
    return float(sum(isinstance(a, Malformed) or a.think is None for a in actions))


def segmentation_iou(case: Case, episode: Episode) -> float:
    """IoU of the last region that a tool reported with the case's findings, 0 without one."""
    data = [outcome.data for turn in episode.turns for outcome in turn.outcomes]
    made = next((each for each in reversed(data) if "mask" in each), None)
    made = made or next((each for each in reversed(data) if "box_px" in each), None)
    gold = findings(case)
    if made is None or not gold:
        return 0.0
    masked = "mask" in made and all(region.mask is not None for region in gold)
    found = Region(
        label="found",
        box_px=tuple(made["box_px"]),
        mask=Mask.model_validate(made["mask"]) if masked else None,
        image=made["image"],
        plane=made.get("plane"),
        index=made.get("index"),
    )
    if found.plane is not None and found.index is not None:
        gold = on_image(gold, found.plane, found.index)
    return regions_iou([found], gold)
