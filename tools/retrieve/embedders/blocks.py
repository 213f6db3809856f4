"""The default for images: our own descriptor of shapes and coarse colours, without a model.

It needs no download and knows no medicine: it finds images of the same shapes and texture, such as
copies of an image, also shifted ones, and images of one anatomy and projection. What an image means
is for a trained model: `clip:DIR`, `dino:DIR`.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .embedder import Embedder, Vectors, of_unit_length

Floats = NDArray[np.float32]

SIDE = 128
CELLS = 8
DIRECTIONS = 6
SPECTRUM = 28
"""Frequencies of the spectrum along each axis."""

COLOURS = 4
"""Fields of colour along each axis."""

SHARES = (0.10, 0.05, 0.85)
"""What gradients, colours and the spectrum count for."""

_FINE = 16
"""Cells along each axis before they are smoothed."""


class Blocks(Embedder):
    """Histograms of gradients in cells, coarse colours, and the spectrum of the grey image, which
    stays as it is where the image is shifted.

    Each part is of length 1 and leaves the mean out, so brightness and contrast hardly count.
    """

    name: ClassVar[str] = "blocks"
    images: ClassVar[bool] = True

    @property
    def dims(self) -> int:
        """See `Embedder.dims`."""
        return CELLS * CELLS * DIRECTIONS + 2 * COLOURS * COLOURS + 2 * SPECTRUM * SPECTRUM

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Embedder.embed_images`."""
        if not images:
            return np.empty((0, self.dims), np.float32)
        return np.stack([_described(image) for image in images])


def _described(image: Image.Image) -> Floats:
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    colours = np.asarray(small, np.float32)
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    parts = _gradients(grey), _colours(colours, grey), _spectrum(grey)
    made = [
        share**0.5 * of_unit_length(part.reshape(1, -1))[0]
        for share, part in zip(SHARES, parts, strict=True)
    ]
    whole: Floats = of_unit_length(np.concatenate(made)[None])[0]
    return whole


def _gradients(grey: Floats) -> Floats:
    """For each cell how strong the gradients of each direction are, in parts of those around."""
    from scipy.ndimage import gaussian_filter

    down, across = np.gradient(gaussian_filter(grey, 1.0, mode="nearest"))
    strength = np.hypot(across, down)
    turn = (np.arctan2(down, across) % np.pi) / np.pi * DIRECTIONS
    low = np.floor(turn).astype(np.intp)
    part = turn - low
    row, column = np.indices((SIDE, SIDE)) * _FINE // SIDE
    cell = row * _FINE + column
    count = _FINE * _FINE
    sums = sum(
        np.bincount(
            (direction % DIRECTIONS * count + cell).ravel(), weight.ravel(), count * DIRECTIONS
        )
        for direction, weight in ((low, strength * (1 - part)), (low + 1, strength * part))
    )
    fine = np.asarray(sums, np.float32).reshape(DIRECTIONS, _FINE, _FINE)
    smooth = gaussian_filter(fine, (0, 1, 1), mode="nearest")
    step = _FINE // CELLS
    cells = smooth.reshape(DIRECTIONS, CELLS, step, CELLS, step).mean(axis=(2, 4))
    around = gaussian_filter(cells.sum(axis=0), 1.5, mode="nearest")
    made: Floats = np.sqrt(cells / (around + 0.05 * around.mean() + 1e-6))
    return made


def _spectrum(grey: Floats) -> Floats:
    """How strong each frequency is, wherever in the image: roots of what is above the coarsest."""
    from scipy.ndimage import gaussian_filter

    detail = grey - gaussian_filter(grey, SIDE / 24, mode="nearest")
    fading = np.sqrt(np.hanning(SIDE + 2)[1:-1]).astype(np.float32)
    waves = np.abs(np.fft.rfft2(detail * fading[:, None] * fading))[:, :SPECTRUM]
    made = np.sqrt(np.concatenate([waves[-SPECTRUM:], waves[:SPECTRUM]])).astype(np.float32)
    centred: Floats = made - made.mean()
    return centred


def _colours(colours: Floats, grey: Floats) -> Floats:
    """How much redder and bluer than grey each field is; nothing in a grey image."""
    width = SIDE // COLOURS
    tint = (colours[:, :, [0, 2]] - grey[:, :, None]) / (grey.mean() + 16)
    fields = tint.reshape(COLOURS, width, COLOURS, width, 2).mean(axis=(1, 3))
    made: Floats = np.where(np.abs(fields) < 0.01, 0, fields).astype(np.float32)
    return made
