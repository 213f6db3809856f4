"""What is true of a phantom, by which a statement about it can be checked without a person."""

from dataclasses import dataclass

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.sources.phantom.modalities import KINDS
from medgym.sources.phantom.settings import SETTINGS
from medgym.sources.phantom.source import QUESTIONS, plan_of
from medgym.sources.phantom.studies.cases import is_study
from medgym.sources.phantom.studies.plan import study_of
from medgym.sources.phantom.studies.questions import STUDY_QUESTIONS
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.studies.textures import KINDS as STUDY_KINDS

_ASKED = {each.text: name for name, each in QUESTIONS.items()}
_ASKED |= {each.text: name for name, each in STUDY_QUESTIONS.items()}


@dataclass(frozen=True)
class PhantomLesion:
    """A lesion: its texture, the half of the image in which it lies, its longest side."""

    kind: str
    side: str
    length_mm: float


@dataclass(frozen=True)
class PhantomFacts:
    """What is true of the image that a case asks about, of two the last one.

    Attributes:
        lesions: what there is. modality, body_part: what it stands for, as DICOM names them.
        slack_mm: by how much a stated length may be off: half a block, the unit of lengths.
        width_px: of the image. textures: those that a lesion of such an image may have.
    """

    lesions: tuple[PhantomLesion, ...]
    modality: str
    body_part: str
    slack_mm: float
    width_px: int
    textures: tuple[str, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """The textures of its lesions."""
        return frozenset(lesion.kind for lesion in self.lesions)

    @property
    def sides(self) -> frozenset[str]:
        """The halves in which there is a lesion."""
        return frozenset(lesion.side for lesion in self.lesions)


def facts_of(case: Case) -> PhantomFacts | None:
    """What is true of a phantom; None of any other case, and of one whose image is no phantom's."""
    if not case.images:
        return None
    try:
        return _facts(case.images[-1])
    except UserError:
        return None


def asked_of(case: Case) -> str | None:
    """Which of the phantoms' questions a case asks, such as `kind`; None for one of another."""
    return _ASKED.get(case.question)


def _facts(ref: ImageRef) -> PhantomFacts:
    if is_study(ref):
        study = study_of(ref)
        setting = STUDY_LOOKS[study.name.look].setting
        found = []
        for each in study.findings:
            x0, y0, x1, y1 = study.box_px(each)
            length = max(x1 - x0, y1 - y0) * study.spacing_mm
            found.append(PhantomLesion(each.kind, study.side(each), length))
        lesions, width, textures = tuple(found), study.size, STUDY_KINDS
    else:
        plan = plan_of(ref)
        setting, width = SETTINGS[plan.look], plan.size
        lesions = (PhantomLesion(plan.kind, plan.side, plan.length_mm),) if plan.kind else ()
        textures = KINDS
    return PhantomFacts(
        lesions, setting.modality, setting.body_part, setting.block_mm / 2, width, textures
    )
