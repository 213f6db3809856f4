"""Noise: each grain covers a pixel of an image whose short side has 224, so that an image looks
equally noisy at any size."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .greys import Greys, shown
from .resizing import coarse, spread


def gaussian(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """Noise of one standard deviation everywhere."""
    return _added(greys, lambda c: c + rng.normal(0.0, strength, c.shape))


def speckle(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """Noise whose standard deviation is a share of the grey."""
    return _added(greys, lambda c: c + c * rng.normal(0.0, strength, c.shape))


def shot(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """The noise of counting: a white pixel counts `strength` photons in the mean."""
    return _added(greys, lambda c: rng.poisson(c * strength) / strength)


def impulse(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """Salt and pepper: this share of the values becomes black or white, equally often."""
    drawn = spread(rng.random(coarse(greys).shape), greys)
    salted = np.where(drawn < strength / 2, 1.0, greys)
    return np.where(drawn > 1 - strength / 2, 0.0, salted).astype(np.float32)


def _added(greys: Greys, noisy: Callable[[Greys], NDArray[np.float64]]) -> Greys:
    """Greys with the noise that `noisy` adds to their shown part on the coarse grid."""
    means = shown(coarse(greys))
    noise = np.clip(noisy(means), 0.0, 1.0) - means
    return greys + spread(noise.astype(np.float32), greys)
