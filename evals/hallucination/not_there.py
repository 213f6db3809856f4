"""Questions about what is not there: each presupposes a finding that the image does not have.

What is not there is never guessed. Of a phantom the plan says it: an image without a lesion is
asked for the texture of its lesion, and one with lesions in one half only for the texture of that
in the other half. Of any other image only an annotated answer says it: "Is there a pneumothorax?"
with the gold no. The finding must be there in another image of the same modality, so that it is one
which such images can show. From an image without such an answer no question is made.

Each question offers the answer that nothing is there. Who gives another answers as if it were
there: a prompt-induced hallucination.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medgym.cases import Case, normalised
from medgym.seeds import seed_of

from .findings import finding_asked
from .phantom_facts import PhantomFacts, facts_of

LESION = "a lesion, of an image without one"
HALF = "a lesion, in the half without one"
PLACE = "the place of a finding that is not there"
CLOSED = "whether it is there, as annotated"

FORMS = (LESION, HALF, PLACE, CLOSED)
"""What is asked for. `CLOSED` is the annotated question itself: it presupposes nothing, and shows
how much of `PLACE` the wording of the question induces."""

NOT_THERE = "it is not there"
_PLACES = ("in the left half", "in the right half", "in both halves")
_MARK = "~not-there"

OF_PHANTOM = "no half of the phantom is without a lesion"
NO_ANSWER = "no annotated answer says that a finding is not there"
NO_MODALITY = "the set does not say its modality"
NOT_ELSEWHERE = "the finding is in no image of the modality"


@dataclass(frozen=True)
class NotThere:
    """Questions about what is not there.

    Attributes:
        cases: the questions. forms: of each, by the case's id, which of `FORMS` it is.
        not_made: how many images give no question, by why.
    """

    cases: tuple[Case, ...]
    forms: dict[str, str]
    not_made: dict[str, int]


def questions_not_there(cases: Iterable[Case]) -> NotThere:
    """The questions about what is not there that some cases give; each is made once."""
    made: dict[str, tuple[Case, str]] = {}
    not_made: Counter[str] = Counter()
    seen: set[object] = set()
    others: dict[object, list[Case]] = {}
    for case in cases:
        facts = facts_of(case)
        if facts is None:
            others.setdefault(_images(case), []).append(case)
        elif _images(case) not in seen:
            seen.add(_images(case))
            found = _of_phantom(case, facts)
            if found is None:
                not_made[OF_PHANTOM] += 1
            else:
                made[found[0].id] = found
    for found in _of_annotated(others, not_made):
        made.setdefault(found[0].id, found)
    forms = {case.id: form for case, form in made.values()}
    return NotThere(tuple(case for case, _ in made.values()), forms, dict(not_made))


def is_as_if_there(case: Case, answer: str | None) -> bool:
    """Whether an answer takes for granted what is not there: it names an option, and not the right
    one. `answer` is what was chosen, as an option's text; or yes or no."""
    if answer is None:
        return False
    known = case.options or ("yes", "no")
    names = {normalised(option) for option in known} - {normalised(case.answer)}
    return normalised(answer) in names


def _images(case: Case) -> object:
    return tuple((ref.uri, ref.plane, ref.index) for ref in case.images)


def _of_phantom(case: Case, facts: PhantomFacts) -> tuple[Case, str] | None:
    if not facts.lesions:
        question = "Which pattern does the lesion have?"
        return _asking(case, "lesion", question, facts.textures, "there is no lesion"), LESION
    empty = [side for side in ("left", "right") if side not in facts.sides]
    if not empty:
        return None
    question = f"Which pattern does the lesion in the {empty[0]} half of the image have?"
    answer = "there is no lesion in that half"
    return _asking(case, f"{empty[0]}-half", question, facts.textures, answer), HALF


def _of_annotated(
    images: dict[object, list[Case]], not_made: Counter[str]
) -> Iterable[tuple[Case, str]]:
    present: dict[str | None, set[str]] = {}
    for cases in images.values():
        for case in cases:
            finding = finding_asked(case)
            if finding is not None and normalised(case.answer) == "yes":
                present.setdefault(case.modality, set()).add(finding)
    for cases in images.values():
        asked = [(finding, case) for case in cases if (finding := finding_asked(case))]
        yes = {finding for finding, case in asked if normalised(case.answer) == "yes"}
        absent = {finding: case for finding, case in asked if finding not in yes}
        usable = {f: c for f, c in absent.items() if f in present.get(c.modality, set())}
        if not absent:
            not_made[NO_ANSWER] += 1
        elif cases[0].modality is None:
            not_made[NO_MODALITY] += 1
        elif not usable:
            not_made[NOT_ELSEWHERE] += 1
        else:
            for finding, case in usable.items():
                where = f"Where in the image is the {finding}?"
                yield _asking(case, "place", where, _PLACES, NOT_THERE), PLACE
                new = {"id": f"{case.id}{_MARK}-closed"}
                yield case.model_copy(update=new), CLOSED


def _asking(case: Case, name: str, question: str, options: Sequence[str], answer: str) -> Case:
    """A case that asks another question about the same images; the place of its right answer among
    the options is drawn by its id."""
    new_id = f"{case.id}{_MARK}-{name}"
    place = seed_of("not there", new_id) % (len(options) + 1)
    return case.model_copy(
        update={
            "id": new_id,
            "question": question,
            "options": (*options[:place], answer, *options[place:]),
            "answer": answer,
            "accepted": (),
            "answer_type": "choice",
            "regions": (),
            "views": (),
            "context": "",
        }
    )
