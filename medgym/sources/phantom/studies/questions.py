"""What is asked about a phantom study, and the cases that ask it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medgym.cases import AnswerType, Case, CaseKey
from medgym.imaging.imaging_study import FRAME
from medgym.imaging.slabs import Slab
from medgym.imaging.slides.study import FINEST
from medgym.imaging.study import ImageRef
from medgym.imaging.volumes.grid import AXIAL, CORONAL
from medgym.regions import Region
from medgym.sources.phantom.settings import FIRST, SIDES
from medgym.sources.phantom.studies.plan import StudyName, StudyPlan, change_of, study_plan
from medgym.sources.phantom.studies.settings import CHANGES, CLIP, SLIDE, STUDY_LOOKS, T1
from medgym.sources.phantom.studies.signals import TONED
from medgym.sources.phantom.studies.textures import KINDS


@dataclass(frozen=True)
class StudyQuestion:
    """What a case asks: the text, the options, and the answer according to a plan.

    Attributes:
        variants: the images that are shown, where they are others than those that a look shows
            by default; the last one is that which is asked about.
    """

    text: str
    answer: Callable[[StudyPlan], str]
    options: tuple[str, ...] = ()
    answer_type: AnswerType = "choice"
    variants: tuple[str, ...] = ()


def _change(plan: StudyPlan) -> str:
    return change_of(plan.name, FIRST[plan.split] + plan.number)


STUDY_QUESTIONS = {
    "kind": StudyQuestion(
        "Which pattern does the lesion have?", lambda plan: plan.findings[0].kind, KINDS
    ),
    "side": StudyQuestion(
        "In which half of the image, as it is shown, does the lesion lie?",
        lambda plan: plan.side(plan.findings[0]),
        SIDES,
    ),
    "slice": StudyQuestion(
        "What is the index of the first image that shows the lesion?",
        lambda plan: str(plan.findings[0].first),
        answer_type="number",
    ),
    "hounsfield": StudyQuestion(
        "What is the mean value of the lesion, to the nearest 50 Hounsfield units?",
        lambda plan: str(TONED[plan.name.look].mean(plan, plan.findings[0])),
        answer_type="number",
    ),
    "count": StudyQuestion(
        "How many lesions are there?",
        lambda plan: str(len(plan.findings)),
        answer_type="number",
        variants=("several",),
    ),
    "change": StudyQuestion(
        "What has become of the lesion since the prior image?",
        _change,
        CHANGES,
        variants=("prior", ""),
    ),
}


def study_key(split: str, name: StudyName, question: str, number: int) -> CaseKey:
    """The key of the case that asks `question` about a phantom study."""
    key = f"{name.look}-{name.text}"
    return CaseKey(
        id=f"phantom/{split}/{key}-{question}-{number}",
        source="phantom",
        group=f"{split}/{key}-{number}",
    )


def plane_of(name: StudyName) -> str:
    """The plane in which a study's lesions are found."""
    return {CLIP: FRAME, SLIDE: FINEST}.get(name.look, AXIAL)


def start_of(plan: StudyPlan) -> ImageRef:
    """What an episode shows first: of a volume a scout, which is the mean of all coronal images; of
    a clip its first frame, on which no lesion is yet; the whole slide."""
    if plan.name.look in (CLIP, SLIDE):
        return ImageRef(uri=plan.uri, plane=plane_of(plan.name), index=0)
    role: Literal["current", "prior"] = "prior" if plan.variant == "prior" else "current"
    slab, middle = Slab(plan.size), plan.size // 2
    middle -= slab.around(middle, plan.size).start  # so that it begins with the first image
    return ImageRef(uri=plan.uri, role=role, plane=CORONAL, index=middle, slab=slab)


def study_case(split: str, name: StudyName, question: str, number: int) -> Case:
    """The case that asks `question` about a phantom study."""
    asked, look = STUDY_QUESTIONS[question], STUDY_LOOKS[name.look]
    plans = [study_plan(split, name, number, variant) for variant in asked.variants or look.shown]
    key = study_key(split, name, question, number)
    return Case(
        id=key.id,
        images=tuple(start_of(plan) for plan in plans),
        question=asked.text,
        options=asked.options,
        answer=asked.answer(plans[-1]),
        answer_type=asked.answer_type,
        regions=tuple(
            Region(
                label=finding.kind,
                box_px=plan.box_px(finding),
                mask=plan.mask(finding),
                image=image,
                plane=plane_of(name),
                index=finding.first,
                count=finding.count,
            )
            for image, plan in enumerate(plans)
            for finding in plan.findings
            if plan.variant != T1  # in which it is a shadow without a kind
        ),
        modality=look.setting.modality,
        body_part=look.setting.body_part,
        specialty=look.setting.specialty,
        group=key.group,
        source=key.source,
        split=split,
        licence="CC0-1.0",
    )
