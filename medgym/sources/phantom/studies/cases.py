"""The cases of phantom studies, and what opens their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from medgym.cases import Case, CaseKey, CaseList
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef, ImagingStudy, Study, decoded, place_of
from medgym.source import chosen
from medgym.sources.phantom.settings import SPLITS
from medgym.sources.phantom.studies.clip import PhantomClip
from medgym.sources.phantom.studies.plan import StudyName, StudyPlan, study_of
from medgym.sources.phantom.studies.questions import start_of, study_case, study_key
from medgym.sources.phantom.studies.settings import CLIP, DIFFICULTIES, SLIDE, STUDY_LOOKS
from medgym.sources.phantom.studies.slide import PhantomSlide
from medgym.sources.phantom.studies.textures import view_sizes
from medgym.sources.phantom.studies.volume import PhantomVolume


@dataclass(frozen=True)
class StudyCases(Sequence[Case]):
    """The cases of a split, made when they are indexed; the questions take turns."""

    split: str
    name: StudyName
    questions: tuple[str, ...]

    def __len__(self) -> int:
        return SPLITS[self.split]

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> CaseList: ...
    def __getitem__(self, index: int | slice) -> Case | CaseList:
        if isinstance(index, slice):
            return CaseList(self)[index]
        return study_case(self.split, self.name, *self._asked(index))

    def key_of(self, index: int) -> CaseKey:
        """The key of a case, which is not made for it."""
        return study_key(self.split, self.name, *self._asked(index))

    def _asked(self, index: int) -> tuple[str, int]:
        """The question and the phantom's number of a case."""
        number, at = divmod(range(len(self))[index], len(self.questions))
        return self.questions[at], number

    def index_of(self, case_id: str) -> int:
        """The index of the case with that id, -1 if there is none."""
        text = case_id.rpartition("-")[2]
        number = int(text) if text.isdecimal() and len(text) < 9 else len(self)
        first = number * len(self.questions)
        places = range(first, min(first + len(self.questions), len(self)))
        return next((place for place in places if self.key_of(place).id == case_id), -1)


class PhantomStudies:
    """The choice of studies that the options of a spec make, see `PhantomSource`."""

    def __init__(self, look: str, options: dict[str, str]) -> None:
        known = ("look", "question", "size", "depth", "difficulty")
        for option in options:
            if option not in known:
                raise unknown("option of phantom", option, known)
        asked = STUDY_LOOKS[look].questions
        self.questions = chosen(f"question of {look}", options.get("question", asked[0]), asked)
        self.name = StudyName(
            look,
            int(_one(f"size of {look}", options.get("size"), STUDY_LOOKS[look].sizes)),
            int(_one(f"depth of {look}", options.get("depth"), STUDY_LOOKS[look].depths)),
            _one("difficulty", options.get("difficulty"), DIFFICULTIES),
        )
        self.view_sizes = view_sizes(self.name.size)

    def cases(self, split: str) -> StudyCases:
        """The cases of a split, which exists."""
        return StudyCases(split, self.name, self.questions)


def _one(option: str, given: str | None, known: tuple[int, ...] | tuple[str, ...]) -> str:
    """The value of an option, which may be one of those that are known; else the first of them."""
    values = tuple(map(str, known))
    if given is None:
        return values[0]
    if given not in values:
        raise unknown(option, given, values)
    return given


def the_study_look(look: str | None) -> str | None:
    """The look of studies that the option `look` names; None where it names single images.

    Raises:
        UserError: it names studies and something else.
    """
    named = (look or "").split("+")
    found = [each for each in named if each in STUDY_LOOKS]
    if found and len(named) > 1:
        raise UserError(f"look={look} mixes studies with other looks; fix: name only {found[0]}")
    return found[0] if found else None


def open_phantom_study(ref: ImageRef) -> ImagingStudy | None:
    """The study that a phantom's URI names; None where it names a single image."""
    return opened(study_of(ref)) if is_study(ref) else None


def is_study(ref: ImageRef) -> bool:
    """Whether a URI is that of a phantom study, right or wrong."""
    look = ref.uri.removeprefix("phantom:").split("/")[1:2]
    return ref.uri.startswith("phantom:") and bool(look) and look[0] in STUDY_LOOKS


def first_image(plan: StudyPlan) -> Study:
    """What an episode shows first of a study."""
    ref, study = start_of(plan), opened(plan)
    return decoded(study, ref, place_of(study, ref))


def opened(plan: StudyPlan) -> ImagingStudy:
    """The study of a plan."""
    if plan.name.look == SLIDE:
        return PhantomSlide(plan)
    return PhantomClip(plan) if plan.name.look == CLIP else PhantomVolume(plan)
