"""A corruption by its name, applied to a decoded image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Study

from . import artefacts, blur, colour, digital, noise
from .greys import Greys, GreyScale
from .severities import CORRUPTIONS, STRENGTHS

BLANK = "blank"
"""Not a corruption: the image without anything on it, the middle grey of what is shown."""

_CHANGES: dict[str, Callable[[Greys, Any, np.random.Generator], Greys]] = {
    "pixelate": digital.pixelate,
    "jpeg": digital.jpeg,
    "gaussian-noise": noise.gaussian,
    "speckle-noise": noise.speckle,
    "impulse-noise": noise.impulse,
    "shot-noise": noise.shot,
    "defocus-blur": blur.defocus,
    "motion-blur": blur.motion,
    "zoom-blur": blur.zoom,
    "gaussian-blur": blur.gaussian,
    "brightness-up": colour.brightness,
    "brightness-down": colour.brightness,
    "contrast-up": colour.contrast,
    "contrast-down": colour.contrast,
    "saturate": colour.saturate,
    "stain-deposit": artefacts.stain_deposit,
    "bubble": artefacts.bubble,
    "black-corner": artefacts.black_corner,
    "characters": artefacts.characters,
    "gamma-up": colour.gamma,
    "gamma-down": colour.gamma,
}
assert {*_CHANGES} == {*CORRUPTIONS}


@dataclass(frozen=True)
class ImageChange:
    """A change of pixels. The same one changes the same pixels in the same way, everywhere.

    Attributes:
        name: of a corruption, or `BLANK`.
        severity: 1 to 5; 0 for `BLANK`.
        kind: the kind of image, which sets the strengths; one of `STRENGTHS`.
        seed: of what is random.
    """

    name: str
    severity: int
    kind: str
    seed: int

    def study(self, study: Study, *place: int) -> Study:
        """A decoded image, changed. Size, spacing, window and padding stay; only of a blank image
        nothing is padding, since its outline would show.

        Args:
            place: what tells the images of one study apart, so that each has noise of its own.
        """
        changed = replace(study, pixels=self._pixels(study, place))
        return replace(changed, hidden=None) if self.name == BLANK else changed

    def _pixels(self, study: Study, place: tuple[int, ...]) -> NDArray[Any]:
        pixels = np.asarray(study.pixels)
        scale = GreyScale.of(study)
        if self.name == BLANK:
            return scale.values(np.full_like(scale.greys(pixels), 0.5), pixels.dtype)
        if min(pixels.shape[:2]) < 2:  # a probe of what an image is like, which nobody sees
            return pixels
        greys = scale.greys(pixels)
        if study.hidden is not None:
            greys[study.hidden] = 0.0
        strength = STRENGTHS[self.kind][self.name][self.severity - 1]
        rng = np.random.default_rng([self.seed, *place])
        changed = _CHANGES[self.name](greys, strength, rng)
        if changed is greys:
            return pixels
        found = scale.values(changed, pixels.dtype)
        if pixels.dtype.kind == "f":
            found[np.isnan(pixels)] = np.nan
        if study.hidden is not None:
            found[study.hidden] = pixels[study.hidden]
        return found
