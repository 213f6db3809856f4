"""Phantoms: procedural cases without download, whose overview shows where to look and hides what.

A phantom is a plan: its look, its lesion if it has one (kind, blocks, size), and its background's
seed. The plan depends only on the split, the look, the image side and the number. The pixels are
drawn from the plan when the image is opened. The gold is read off the plan, never off the pixels.
So a case costs nothing until it is indexed, and one id is one case under all options, in every
process and on every machine.

What the questions are good for: `kind` cannot be answered above chance from an overview (see
`modalities`), only after a closer look. `side`, `presence` and `size` need no tool; they are there
for variety and as a contrast. `diagnosis` asks for the kind and for a stage that no pixel shows.
Only the doctor who treats the patient knows the stage, so this question needs a closer look and a
consultation. The kinds are textures with neutral names and the anatomy is a sketch: nothing here is
medical evidence.

Balance: the lesions of 24 successive pairs of phantoms are a shuffled deck of every kind with every
side and every size. Of each pair one phantom, chosen by a coin toss, has no lesion. So no slice
favours an answer, and no answer depends on the place, the background or the index.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import ClassVar, overload

from medgym.cases import Case, CaseKey, CaseList, Region
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef, ImagingStudy, Study
from medgym.seeds import seed_of
from medgym.source import Source, chosen
from medgym.sources.phantom.lesions import lesion_cells, shuffled
from medgym.sources.phantom.modalities import (
    APPEARANCES,
    GRIDS,
    KINDS,
    view_sizes,
)
from medgym.sources.phantom.plan import PhantomPlan as PhantomPlan
from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.settings import (
    FIRST,
    LENGTHS,
    SETTINGS,
    SIDES,
    SPLITS,
    STAGES,
    key_of,
    lengths,
)
from medgym.sources.phantom.studies.cases import (
    PhantomStudies,
    StudyCases,
    open_phantom_study,
    the_study_look,
)
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.tool_questions import TOOL_QUESTIONS, ToolQuestion, scaled


def plan(split: str, look: str, size: int, number: int) -> PhantomPlan:
    """The phantom of that name. It depends only on its name."""
    count = FIRST[split] + number
    pair = count // 2
    seed = seed_of("phantom background", look, size, count)
    if count % 2 != lesion_of_pair(look, size, pair):
        return PhantomPlan(split, look, size, number, seed, None, ())
    kind, side, length = _deck(look, size, pair // len(_DECK))[pair % len(_DECK)]
    rng = RandomStream(seed_of("phantom lesion", look, size, count))
    cells = lesion_cells(rng, SETTINGS[look].field, size // GRIDS[size].block, side, length)
    return PhantomPlan(split, look, size, number, seed, kind, cells)


def lesion_of_pair(look: str, size: int, pair: int) -> int:
    """Which of the two phantoms of a pair has the lesion: 0 or 1."""
    return seed_of("phantom pair", look, size, pair) % 2


_DECK = tuple(product(KINDS, SIDES, LENGTHS))


@lru_cache(maxsize=256)
def _deck(look: str, size: int, number: int) -> tuple[tuple[str, str, int], ...]:
    return shuffled(_DECK, RandomStream(seed_of("phantom deck", look, size, number)))


def _kind(plan: PhantomPlan) -> str:
    assert plan.kind is not None
    return plan.kind


@dataclass(frozen=True)
class Question:
    """What a case asks: the text, the options for a look, and the answer according to a plan."""

    text: str
    options: Callable[[str], tuple[str, ...]]
    answer: Callable[[PhantomPlan], str]
    needs_lesion: bool = True


QUESTIONS = {
    "kind": Question("Which pattern does the lesion have?", lambda look: KINDS, _kind),
    "side": Question(
        "In which half of the image, as it is shown, does the lesion lie?",
        lambda look: SIDES,
        lambda plan: plan.side,
    ),
    "presence": Question(
        "Does the image show a lesion?",
        lambda look: ("yes", "no"),
        lambda plan: "yes" if plan.kind else "no",
        needs_lesion=False,
    ),
    "size": Question(
        "How long is the lesion along its longest side?",
        lengths,
        lambda plan: lengths(plan.look)[LENGTHS.index(plan.length)],
    ),
    "diagnosis": Question(
        "Which pattern does the lesion have, and which stage is it?",
        lambda look: tuple(f"{kind}, {stage}" for kind in KINDS for stage in STAGES),
        lambda plan: f"{_kind(plan)}, {plan.stage}",
    ),
}

ASKED: dict[str, Question | ToolQuestion] = {**QUESTIONS, **TOOL_QUESTIONS}

FROM_PIXELS = tuple(name for name in QUESTIONS if name != "diagnosis")
"""The questions that the image answers."""


def case_of(plan: PhantomPlan, question: str) -> Case:
    """The case that asks `question` about a phantom."""
    asked, setting = ASKED[question], SETTINGS[plan.look]
    plan = scaled(plan) if question == "length" else plan
    width_mm = plan.size * plan.spacing_mm
    key = key_of(plan.split, plan.look, plan.size, question, plan.number)
    return Case(
        id=key.id,
        images=(ImageRef(uri=plan.uri),),
        question=asked.text if isinstance(asked, Question) else asked.text(plan),
        options=asked.options(plan.look),
        context=f"The image is {width_mm:g} mm wide." if question == "size" else "",
        answer=asked.answer(plan),
        answer_type="closed" if question == "presence" else "choice",
        regions=(
            (Region(label=plan.kind, box_px=plan.box_px, mask=plan.mask()),) if plan.kind else ()
        ),
        modality=setting.modality,
        body_part=setting.body_part,
        specialty=setting.specialty,
        group=key.group,
        source=key.source,
        split=plan.split,
        licence="CC0-1.0",
    )


@dataclass(frozen=True)
class PhantomCases(Sequence[Case]):
    """The cases of a split, made when they are indexed; questions, sides and looks alternate."""

    split: str
    looks: tuple[str, ...]
    sizes: tuple[int, ...]
    questions: tuple[str, ...]
    unique_ids: ClassVar[bool] = True

    def __len__(self) -> int:
        return SPLITS[self.split]

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> CaseList: ...
    def __getitem__(self, index: int | slice) -> Case | CaseList:
        if isinstance(index, slice):
            return CaseList(self)[index]
        look, size, question, number = self._name(index)
        return case_of(plan(self.split, look, size, number), question)

    def key_of(self, index: int) -> CaseKey:
        """The key of a case, which is not made for it."""
        return key_of(self.split, *self._name(index))

    def _name(self, index: int) -> tuple[str, int, str, int]:
        """The look, the image's side, the question and the phantom's number of a case."""
        place = range(len(self))[index]  # negative ones count from the end; IndexError past it
        turn, place = divmod(place, len(self.looks) * len(self.sizes) * len(self.questions))
        place, look_at = divmod(place, len(self.looks))
        at, size_at = divmod(place, len(self.sizes))
        look, size, question = self.looks[look_at], self.sizes[size_at], self.questions[at]
        number = turn
        if ASKED[question].needs_lesion:
            number = 2 * turn + lesion_of_pair(look, size, FIRST[self.split] // 2 + turn)
        return look, size, question, number

    def index_of(self, case_id: str) -> int:
        """The index of the case with that id, -1 if there is none.

        The number in the id says in which turn to search.
        """
        number = case_id.rpartition("-")[2]
        width = len(self.looks) * len(self.sizes) * len(self.questions)
        turns = (int(number), int(number) // 2) if number.isdecimal() and len(number) < 9 else ()
        places = (turn * width + i for turn in turns for i in range(width))
        return next((p for p in places if p < len(self) and self[p].id == case_id), -1)


class PhantomSource(Source):
    """The source `phantom`.

    Options (several values are joined by `+`):
        look: radiograph, ct, fundus, histology; all by default.
        question: kind, side, presence, size; these by default. Only `kind` needs a tool.
            `diagnosis` needs a tool and a consultation with a role that knows the stage.
            `length` needs the tool `measure`, and `stage` needs `retrieve`.
        size: the image's side in pixels: 256, 512, 896, 1024, 1792 or 3584; 512 by default.

    One look alone of `STUDY_LOOKS`, such as ct-volume, makes studies of several images:
        question: see `STUDY_QUESTIONS`; `kind` by default.
        size: 128, 256 or 512; 256 by default. depth: how many images, 16 by default.
        difficulty: easy, medium, hard; see `DIFFICULTIES`.
    """

    name: ClassVar[str] = "phantom"
    splits = tuple(SPLITS)
    all_gold = True
    groups_apart = True

    def __init__(self, **options: str) -> None:
        look = the_study_look(options.get("look"))
        self._studies = None if look is None else PhantomStudies(look, options)
        if self._studies is not None:
            self.view_sizes = self._studies.view_sizes
            return
        known = ("look", "question", "size")
        for option in options:
            if option not in known:
                raise unknown("option of phantom", option, known)
        looks = (*APPEARANCES, *STUDY_LOOKS)
        self.looks = chosen("look of phantom", options.get("look", "+".join(APPEARANCES)), looks)
        asked = options.get("question", "+".join(FROM_PIXELS))
        self.questions = chosen("question of phantom", asked, tuple(ASKED))
        sides = chosen("size of phantom", options.get("size", "512"), tuple(map(str, GRIDS)))
        self.sizes = tuple(map(int, sides))
        common = set.intersection(*(set(view_sizes(size)) for size in self.sizes))
        if not common:
            raise UserError(
                f"no view size hides the kind at all of the image sizes {', '.join(sides)}; "
                "fix: choose one size"
            )
        self.view_sizes = tuple(sorted(common))

    def cases(self, split: str) -> PhantomCases | StudyCases:
        """The cases of `split`; `UserError` if there is no such split."""
        if split not in SPLITS:
            raise unknown("split of phantom", split, SPLITS)
        if self._studies is not None:
            return self._studies.cases(split)
        return PhantomCases(split, self.looks, self.sizes, self.questions)

    @classmethod
    def open_image(cls, ref: ImageRef) -> Study | ImagingStudy:
        """Draw the phantom that `phantom:SPLIT/LOOK/SIZE/NUMBER` names, or open the study."""
        study = open_phantom_study(ref)
        if study is not None:
            return study
        return plan_of(ref).study()


def plan_of(ref: ImageRef) -> PhantomPlan:
    """The plan that a phantom's URI names; `UserError` if it names no phantom."""
    parts = ref.uri.removeprefix("phantom:").split("/")
    if ref.uri.startswith("phantom:") and (len(parts) == 4 or parts[4:] == ["scaled"]):
        split, look, size, number = parts[:4]
        sides = {str(side): side for side in GRIDS}
        if (
            split in SPLITS
            and look in APPEARANCES
            and size in sides
            and number.isdecimal()
            and number.isascii()
            and int(number) < 2 * SPLITS[split]
        ):
            found = plan(split, look, sides[size], int(number))
            if not parts[4:]:
                return found
            if found.kind:
                return scaled(found)
    raise UserError(
        f"no phantom has the address {ref.uri!r}; fix: take it from a case, such as "
        "phantom:train/radiograph/512/17"
    )
