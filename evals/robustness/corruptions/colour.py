"""Brightness, contrast, gamma and saturation."""

import numpy as np

from .greys import Greys, shown


def brightness(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """All greys times a factor."""
    return greys * np.float32(strength)


def contrast(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """The distance from the mean grey times a factor."""
    mean = np.float32(shown(greys).mean())
    return mean + (greys - mean) * np.float32(strength)


def gamma(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """What is shown to the power of gamma; above 1 it gets darker."""
    part = shown(greys)
    return part ** np.float32(strength) + (greys - part)


def saturate(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """So much added to the saturation of colours (as of HSV); grey stays grey."""
    if greys.ndim == 2:
        return greys
    value = greys.max(axis=2, keepdims=True)
    chroma = value - greys.min(axis=2, keepdims=True)
    has_colour = (value > 0) & (chroma > 0)
    before = np.where(has_colour, chroma / np.where(has_colour, value, 1.0), 1.0)
    after = np.minimum(before + strength, 1.0)
    moved = value - (value - greys) * (after / before)
    return np.where(has_colour, moved, greys).astype(np.float32)
