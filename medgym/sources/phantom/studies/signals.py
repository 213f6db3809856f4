"""What the values of a look are: its backgrounds, the tones of a lesion, its window."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.grey import Window
from medgym.seeds import seed_of
from medgym.sources.phantom.studies.plan import Finding, StudyPlan
from medgym.sources.phantom.studies.scan import scan
from medgym.sources.phantom.studies.settings import CLIP, CT, MRI, T1
from medgym.sources.phantom.studies.tissues import (
    HOUNSFIELD,
    T1_SIGNAL,
    T2_SIGNAL,
    grain,
    table,
    tissues,
)

Values = NDArray[Any]


class Signal(ABC):
    """The values of one look. All are whole numbers, alike on every machine."""

    is_bright = True
    """Whether the second tone of a lesion is the brighter one."""

    @abstractmethod
    def background(self, plan: StudyPlan, index: int) -> Values:
        """An image without lesions, which may be changed."""

    @abstractmethod
    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """The mean of a lesion's values."""

    @abstractmethod
    def contrast(self, plan: StudyPlan) -> int:
        """How far the two tones of a lesion are from its mean."""

    def window(self, plan: StudyPlan) -> Window | None:
        """The window in which the images of a study are shown first; None for bytes."""
        return None


class Hounsfield(Signal):
    """CT: Hounsfield units. In a hard study both tones are white in the first window."""

    def background(self, plan: StudyPlan, index: int) -> Values:
        """See `Signal.background`."""
        return table(HOUNSFIELD)[_greys(plan, index)] + _noise(plan, index) * np.int16(3)

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Signal.mean`."""
        return 700 + 50 * finding.level

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 400

    def window(self, plan: StudyPlan) -> Window:
        """See `Signal.window`."""
        return Window(40, 400) if plan.name.difficulty == "hard" else Window(400, 2000)


class Resonance(Signal):
    """MRI: arbitrary units, of another scale in each image. The kind shows only in T2."""

    def background(self, plan: StudyPlan, index: int) -> Values:
        """See `Signal.background`."""
        signal = table(T1_SIGNAL if plan.variant == T1 else T2_SIGNAL)[_greys(plan, index)]
        values = (signal + _noise(plan, index)) * np.int16(self._scale(plan))
        return np.asarray(np.maximum(values, np.int16(0)))

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Signal.mean`."""
        level = 20 if plan.variant == T1 else 165 + 5 * finding.level
        return level * self._scale(plan)

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 0 if plan.variant == T1 else 65 * self._scale(plan)

    def window(self, plan: StudyPlan) -> Window:
        """See `Signal.window`."""
        top = (90 if plan.name.difficulty == "hard" else 255) * self._scale(plan)
        return Window(top / 2, top)

    def _scale(self, plan: StudyPlan) -> int:
        return 3 + seed_of("phantom study scale", plan.seed, plan.variant) % 6


class Echo(Signal):
    """Ultrasound: bytes. The lesion of a hard study has little contrast."""

    def background(self, plan: StudyPlan, index: int) -> Values:
        """See `Signal.background`."""
        return scan(plan.seed, plan.size, plan.depth, index, plan.split)

    def mean(self, plan: StudyPlan, finding: Finding) -> int:
        """See `Signal.mean`."""
        return 160 + 5 * finding.level

    def contrast(self, plan: StudyPlan) -> int:
        """See `Signal.contrast`."""
        return 15 if plan.name.difficulty == "hard" else 60


SIGNALS: dict[str, Signal] = {CT: Hounsfield(), MRI: Resonance(), CLIP: Echo()}
"""The signal of each look."""


def _greys(plan: StudyPlan, index: int) -> NDArray[np.uint8]:
    return tissues(plan.seed, plan.size, plan.depth, index, plan.split)


def _noise(plan: StudyPlan, index: int) -> NDArray[np.int16]:
    seed = seed_of("phantom study image", plan.seed, plan.variant)
    return grain(seed, plan.size, index)
