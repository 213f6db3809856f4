"""What lies on the glass, in the optics, or over the picture."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .greys import Greys
from .resizing import enlargement, resized

_INKS = ((0.20, 0.10, 0.32), (0.30, 0.16, 0.10), (0.10, 0.14, 0.28))
_SIGNS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"


def black_corner(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """Black beyond a circle whose radius is so many halves of the short side, as a tube leaves."""
    height, width = greys.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
    soft = max(1.0, 2 * enlargement(greys))
    radius = strength * min(height, width) / 2
    inside = np.clip((radius - distance) / soft + 0.5, 0.0, 1.0).astype(np.float32)
    return _mixed(greys, np.float32(0.0), 1 - inside)


def characters(greys: Greys, strength: tuple[int, int, float], rng: np.random.Generator) -> Greys:
    """So many texts of so many signs, whose height is a third of this share of the short side."""
    count, length, share = strength
    height, width = greys.shape[:2]
    size = max(6, round(share * min(height, width) / 3))
    font = ImageFont.load_default(size)
    for _ in range(count):
        page = Image.new("L", (width, height))
        text = "".join(rng.choice(list(_SIGNS), length))
        left, top, right, bottom = font.getbbox(text)
        place = [
            rng.uniform(0, max(side - extent, 1)) for side, extent in
            ((width, right - left), (height, bottom - top))
        ]  # fmt: skip
        ImageDraw.Draw(page).text((place[0] - left, place[1] - top), text, 255, font)
        ink = np.float32(rng.integers(2))
        greys = _mixed(greys, ink, np.asarray(page, np.float32) / np.float32(255))
    return greys


def stain_deposit(greys: Greys, strength: int, rng: np.random.Generator) -> Greys:
    """So many drops of dried stain, with a ragged outline."""
    cover = np.zeros(greys.shape[:2], np.float32)
    short: int = min(cover.shape)
    ragged = _smooth_field(rng, cover.shape)
    for _ in range(strength):
        radius = rng.uniform(0.04, 0.09) * short
        distance, part = _around(cover.shape, 2 * radius, rng)
        drop = np.clip((1 + 0.6 * ragged[part] - distance / radius) * 6, 0.0, 1.0)
        cover[part] = np.maximum(cover[part], drop)
    ink = np.array(_INKS[int(rng.integers(len(_INKS)))], np.float32)
    return _mixed(greys, ink if greys.ndim == 3 else ink.mean(), 0.85 * cover)


def bubble(greys: Greys, strength: tuple[int, int], rng: np.random.Generator) -> Greys:
    """So many bubbles of air of up to this radius: a dark rim, a bright ring, a pale inside."""
    count, most = strength
    scale = enlargement(greys)
    found = greys.copy()
    width = max(1.0, 1.5 * scale)
    for _ in range(count):
        radius = rng.uniform(0.4, 1.0) * most * scale
        distance, part = _around(greys.shape, radius + 4 * width, rng)
        rim = np.exp(-0.5 * ((distance - radius) / width) ** 2)
        ring = np.exp(-0.5 * ((distance - radius + 2.5 * width) / width) ** 2)
        inside = np.clip((radius - distance) / width, 0.0, 1.0)
        patch = _mixed(found[part], np.float32(1.0), 0.15 * inside)
        patch = _mixed(patch, np.float32(1.0), 0.5 * ring)
        found[part] = _mixed(patch, np.float32(0.1), 0.45 * rim)
    return found


def _mixed(greys: Greys, ink: np.float32 | Greys, cover: NDArray[Any]) -> Greys:
    """Greys covered by an ink, where `cover` is 1 wholly."""
    share = cover if greys.ndim == 2 else cover[..., None]
    return np.asarray(greys * (1 - share) + ink * share, np.float32)


def _around(
    shape: tuple[int, ...], reach: float, rng: np.random.Generator
) -> tuple[Greys, tuple[slice, slice]]:
    """How far each pixel is from a random place, and which part of the image lies within reach."""
    middle = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    rows, columns = (
        slice(max(0, math.floor(at - reach)), min(side, math.ceil(at + reach) + 1))
        for at, side in zip(middle, shape[:2], strict=True)
    )
    down = np.arange(rows.start, rows.stop) - middle[0]
    across = np.arange(columns.start, columns.stop) - middle[1]
    return np.hypot(down[:, None], across[None, :]).astype(np.float32), (rows, columns)


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...]) -> Greys:
    """A smooth random field from -1 to 1, whose hills are a fifteenth of the short side wide."""
    height, width = shape[:2]
    cell = min(height, width) / 15
    cells = max(2, math.ceil(height / cell)), max(2, math.ceil(width / cell))
    field = rng.uniform(-1.0, 1.0, cells).astype(np.float32)
    return resized(field, (width, height), Image.Resampling.BICUBIC)
