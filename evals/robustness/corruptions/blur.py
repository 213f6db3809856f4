"""Blur: out of focus, by motion, by zoom, and by a Gaussian."""

import math

import numpy as np
from PIL import Image

from .greys import Greys
from .resizing import by_channel, coarse, convolved, enlargement, resized

FINE, FINER = 448, 896
"""Pixels of the short side at which a blur is calculated: what is finer, it would remove."""


def gaussian(greys: Greys, strength: int, rng: np.random.Generator) -> Greys:
    """A Gaussian whose kernel has so many pixels a side."""
    sigma = 0.3 * ((strength - 1) / 2 - 1) + 0.8  # of a kernel of that size, as OpenCV takes it
    part = coarse(greys, FINE)
    return _enlarged(_smooth(part, sigma * enlargement(part)), greys)


def defocus(greys: Greys, strength: tuple[float, float], rng: np.random.Generator) -> Greys:
    """A disc of a radius whose rim is softened by a Gaussian."""
    part = coarse(greys, FINE)
    radius, rim = (length * enlargement(part) for length in strength)
    reach = math.ceil(radius + 3 * rim) + 1
    places = np.arange(-reach, reach + 1)
    distance = np.hypot(places[:, None], places[None, :])
    disc = np.clip(radius + 0.5 - distance, 0.0, 1.0).astype(np.float32)
    kernel = _smooth(disc, rim)
    return _enlarged(convolved(part, kernel / kernel.sum()), greys)


def motion(greys: Greys, strength: tuple[int, int], rng: np.random.Generator) -> Greys:
    """A trail to one side that fades as half a Gaussian, at a random angle of up to 45 degrees."""
    length, sigma = ((2 * strength[0] + 1), strength[1])
    part = coarse(greys, FINER)
    scale = enlargement(part)
    angle = math.radians(rng.uniform(-45.0, 45.0))
    steps = np.arange(0.0, length * scale, 0.5)
    weights = np.exp(-0.5 * (steps / (sigma * scale)) ** 2)
    reach = math.ceil(length * scale) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    x, y = reach + steps * math.cos(angle), reach + steps * math.sin(angle)
    for down in (0, 1):
        for across in (0, 1):
            column, row = np.floor(x).astype(int) + across, np.floor(y).astype(int) + down
            share = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            np.add.at(kernel, (row, column), weights * share)
    return _enlarged(convolved(part, (kernel / kernel.sum()).astype(np.float32)), greys)


def zoom(greys: Greys, strength: tuple[float, float], rng: np.random.Generator) -> Greys:
    """The mean of the image at magnifications from 1 up to the first number, in steps of the
    second."""
    greatest, step = strength
    height, width = greys.shape[:2]
    total = greys.astype(np.float64)
    factors = np.arange(1.0, greatest + step / 2, step)
    for factor in factors:
        x, y = width / 2 * (1 - 1 / factor), height / 2 * (1 - 1 / factor)
        box = (x, y, width - x, height - y)
        total += resized(greys, (width, height), Image.Resampling.BILINEAR, box)
    return (total / (1 + len(factors))).astype(np.float32)


def _enlarged(part: Greys, like: Greys) -> Greys:
    height, width = like.shape[:2]
    if part.shape == like.shape:
        return part
    return resized(part, (width, height), Image.Resampling.BICUBIC)


def _smooth(greys: Greys, sigma: float) -> Greys:
    from scipy.ndimage import gaussian_filter

    return by_channel(greys, lambda each: np.asarray(gaussian_filter(each, sigma), np.float32))
