"""What the values of a look are: the tones of a lesion, and the window."""

from abc import ABC, abstractmethod

from medgym.imaging.grey import Window
from medgym.seeds import seed_of
from medgym.sources.phantom.studies.plan import Finding, StudyPlan
from medgym.sources.phantom.studies.settings import CLIP, CT, MRI, SLIDE, T1


class Signal(ABC):
    """The values of one look. All are whole numbers, alike on every machine."""

    is_bright = True
    """Whether the second tone of a lesion is the brighter one."""

    @abstractmethod
    def contrast(self, plan: StudyPlan) -> int:
        """How far the two tones of a lesion are from its mean."""

    def window(self, plan: StudyPlan) -> Window | None:
        """The window in which the images of a study are shown first; None for bytes."""
        return None


class Toned(Signal):
    """A look whose lesions have two values."""

    @abstractmethod
    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """The mean of a lesion's values."""


class Hounsfield(Toned):
    """CT: Hounsfield units. In a hard study both tones are white in the first window."""

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Toned.mean`."""
        return 700 + 50 * finding.level

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 400

    def window(self, plan: StudyPlan) -> Window:
        """See `Signal.window`."""
        return Window(40, 400) if plan.name.difficulty == "hard" else Window(400, 2000)


class Resonance(Toned):
    """MRI: arbitrary units, of another scale in each image. The kind shows only in T2."""

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Toned.mean`."""
        level = 20 if plan.variant == T1 else 165 + 5 * finding.level
        return level * self.scale(plan)

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 0 if plan.variant == T1 else 65 * self.scale(plan)

    def window(self, plan: StudyPlan) -> Window:
        """See `Signal.window`."""
        top = (90 if plan.name.difficulty == "hard" else 255) * self.scale(plan)
        return Window(top / 2, top)

    def scale(self, plan: StudyPlan) -> int:
        """What a share of 255 is multiplied by: arbitrary, and another in each series."""
        return 3 + seed_of("phantom study scale", plan.seed, plan.variant) % 6


class Echo(Toned):
    """Ultrasound: bytes. The lesion of a hard study has little contrast."""

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Toned.mean`."""
        return 160 + 5 * finding.level

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 15 if plan.name.difficulty == "hard" else 60


class Stain(Signal):
    """A slide: a lesion is darker than its surroundings, and so is its second tone."""

    is_bright = False

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return {"easy": 56, "medium": 40, "hard": 16}[plan.name.difficulty]


TONED: dict[str, Toned] = {CT: Hounsfield(), MRI: Resonance(), CLIP: Echo()}
"""The signal of each look of a stack of images."""

SIGNALS: dict[str, Signal] = {**TONED, SLIDE: Stain()}
"""The signal of each look."""
