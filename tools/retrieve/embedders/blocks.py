"""The default for images: our own descriptor of shapes and coarse colours, without a model.

It needs no download and knows no medicine: it finds images of the same shapes at the same places,
such as copies of an image and images of one anatomy and projection. What an image means is for a
trained model: `clip:DIR`, `dino:DIR`.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .embedder import Embedder, Vectors, of_unit_length

SIDE = 96
CELLS = 8
DIRECTIONS = 8
WAVES = 10
"""Lowest frequencies that are kept along each axis."""

COLOURS = 4
"""Fields of colour along each axis."""

SHARES = (0.55, 0.35, 0.10)
"""What gradients, frequencies and colours count for."""


class Blocks(Embedder):
    """Histograms of gradients in cells, the lowest frequencies of the grey image, coarse colours.

    Each part is of length 1 and leaves the mean out, so brightness and contrast hardly count.
    """

    name: ClassVar[str] = "blocks"
    images: ClassVar[bool] = True

    @property
    def dims(self) -> int:
        """See `Embedder.dims`."""
        return CELLS * CELLS * DIRECTIONS + WAVES * WAVES - 1 + 2 * COLOURS * COLOURS

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Embedder.embed_images`."""
        if not images:
            return np.empty((0, self.dims), np.float32)
        return np.stack([_described(image) for image in images])


def _described(image: Image.Image) -> NDArray[np.float32]:
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    colours = np.asarray(small, np.float32)
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    parts = _gradients(grey), _frequencies(grey), _colours(colours, grey)
    made = [
        share**0.5 * of_unit_length(part.reshape(1, -1))[0]
        for share, part in zip(SHARES, parts, strict=True)
    ]
    return of_unit_length(np.concatenate(made)[None])[0]


def _gradients(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each cell how strong the gradients of each direction are, in parts of those around."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(grey, 1.0, mode="nearest")
    down, across = np.gradient(smooth)
    strength = np.hypot(across, down)
    turn = (np.arctan2(down, across) % np.pi) / np.pi * DIRECTIONS
    low = np.floor(turn).astype(np.intp)
    part = turn - low
    layers = np.zeros((DIRECTIONS, SIDE, SIDE), np.float32)
    rows, columns = np.indices((SIDE, SIDE))
    layers[low % DIRECTIONS, rows, columns] = strength * (1 - part)
    layers[(low + 1) % DIRECTIONS, rows, columns] += strength * part
    width = SIDE / CELLS
    pooled = gaussian_filter(layers, (0, width / 2, width / 2), mode="nearest")
    middle = ((np.arange(CELLS) + 0.5) * width).astype(np.intp)
    cells: NDArray[np.float32] = pooled[:, middle][:, :, middle]
    around = gaussian_filter(cells.sum(axis=0), 1.5, mode="nearest")
    floor = 0.05 * float(around.mean()) + 1e-6
    return np.sqrt(cells / (around + floor))


def _frequencies(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lowest frequencies, without the mean, with the sign of each and the root of its size."""
    from scipy.fft import dctn

    low = dctn(grey, norm="ortho")[:WAVES, :WAVES].reshape(-1)[1:]
    made: NDArray[np.float32] = np.sign(low) * np.sqrt(np.abs(low))
    return made


def _colours(colours: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much redder and bluer than grey each field is; nothing in a grey image."""
    width = SIDE // COLOURS
    tint = (colours[:, :, [0, 2]] - grey[:, :, None]) / (grey.mean() + 16)
    fields = tint.reshape(COLOURS, width, COLOURS, width, 2).mean(axis=(1, 3))
    made: NDArray[np.float32] = np.where(np.abs(fields) < 0.01, 0, fields).astype(np.float32)
    return made
