"""How two pictures of the same thing lie on each other: an affine map between their pixels.

Phase correlation finds the shift, for several turns and sizes; then all six numbers of the map are
refined so that coarse and fine structure correlate best where both pictures are. Any two pictures
can be stretched until their coarse levels correlate, so fine structure is what tells a match.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float64]
"""(height, width) levels."""

Matrix = NDArray[np.float64]
"""2 x 3: `matrix @ (x, y, 1)` is the place in the second picture of (x, y) in the first. The top
left corner of a picture is (0, 0) and the centre of its first pixel (0.5, 0.5)."""

TURNS = (-24.0, -16.0, -8.0, 0.0, 8.0, 16.0, 24.0)
"""Degrees that are tried."""

SIZES = (0.75, 0.87, 1.0, 1.15, 1.33)
"""Magnifications that are tried."""

LARGEST, STRETCHED = 2.0, 1.3
"""A map enlarges or shrinks so many times at the most, and one side so many times more than the
other."""

OVERLAP = 0.4
"""The least share of the first picture that the second has to cover."""

CANDIDATES = 2
"""The shifts that are refined, the best first."""

STEPS, LAST_STEPS = 150, 250
"""The most steps of a refinement: at half the size, and at full size."""

FINE = 3.0
"""Pixels: the standard deviation of the Gaussian that fine structure is without."""

LEAST_SIDE = 8
"""Pixels that a picture needs on each side."""


@dataclass(frozen=True)
class Registration:
    """How a second picture lies on a first.

    Attributes:
        matrix: from pixels of the first to those of the second.
        correlation: of the levels where both are, -1 to 1.
        detail: of the fine structure there.
        overlap: the share of the first that the second covers.
    """

    matrix: Matrix
    correlation: float
    detail: float
    overlap: float


@dataclass(frozen=True)
class _Fit:
    matrix: Matrix
    correlation: float
    overlap: float


def registered(first: Picture, second: Picture) -> Registration | None:
    """How the second lies on the first. None where one of them shows nothing, or none fits."""
    if min(first.shape + second.shape) < LEAST_SIDE or min(first.std(), second.std()) < 1e-3:
        return None
    halves = _half(first), _half(second)
    fits = sorted(_shifted(*halves), key=lambda fit: -fit.correlation)[:CANDIDATES]
    best = max((_refined(fit, *halves, STEPS) for fit in fits), key=lambda fit: fit.correlation)
    if best.correlation <= 0:
        return None
    matrix = best.matrix * np.array([1.0, 1.0, 2.0])
    sharp = _sharp(first), _sharp(second)
    refined = _refined(_judged(matrix, *sharp), *sharp, LAST_STEPS)
    final = _judged(refined.matrix, first, second)
    detail = _judged(final.matrix, _fine(first), _fine(second)).correlation
    return Registration(final.matrix, final.correlation, detail, final.overlap)


def warped(
    picture: Picture, matrix: Matrix, shape: tuple[int, ...], outside: float = np.nan
) -> Picture:
    """A second picture as it lies on a first of that shape; `outside` where it is not."""
    from scipy.ndimage import affine_transform

    # scipy counts (row, column) from the centre of the first pixel.
    swapped = matrix[::-1, [1, 0]]
    offset = swapped @ (0.5, 0.5) + matrix[::-1, 2] - 0.5
    made = affine_transform(picture, swapped, offset, shape, order=1, cval=outside)
    return np.asarray(made, np.float64)


def _half(picture: Picture) -> Picture:
    height, width = (side // 2 for side in picture.shape)
    blocks = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _fine(picture: Picture) -> Picture:
    from scipy.ndimage import gaussian_filter

    return np.asarray(picture - gaussian_filter(picture, FINE))


def _sharp(picture: Picture) -> Picture:
    """Coarse and fine structure with the same weight."""
    fine = _fine(picture)
    return np.asarray(picture / picture.std() + fine / max(float(fine.std()), 1e-6))


def _shifted(first: Picture, second: Picture) -> list[_Fit]:
    """The best shift for each turn and size."""
    from scipy.fft import fft2
    from skimage.registration import phase_cross_correlation

    room = tuple(2 * side for side in first.shape)
    still = fft2(first - first.mean(), room)
    away = second - second.mean()
    fits = []
    for turn in TURNS:
        for size in SIZES:
            matrix = _turned(turn, size, first, second)
            moved = fft2(warped(away, matrix, first.shape, 0.0), room)
            shift, _, _ = phase_cross_correlation(still, moved, space="fourier", normalization=None)
            matrix[:, 2] -= matrix[:, :2] @ np.asarray(shift, np.float64)[::-1]
            fits.append(_judged(matrix, first, second))
    return fits


def _turned(turn: float, size: float, first: Picture, second: Picture) -> Matrix:
    """The map that turns and enlarges around the middles of both pictures."""
    angle = np.radians(turn)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
    one, other = (np.array(each.shape[::-1]) / 2 for each in (first, second))
    return np.column_stack([linear, other - linear @ one])


def _judged(matrix: Matrix, first: Picture, second: Picture) -> _Fit:
    """How well the second lies on the first; a correlation of -1 where a map is not allowed."""
    sides = np.linalg.svd(matrix[:, :2], compute_uv=False)
    if not (sides[1] >= 1 / LARGEST and sides[0] <= min(LARGEST, STRETCHED * sides[1])):
        return _Fit(matrix, -1.0, 0.0)
    lying = warped(second, matrix, first.shape)
    both = ~np.isnan(lying)
    overlap = float(both.mean())
    if overlap < OVERLAP:
        return _Fit(matrix, -1.0, overlap)
    one, other = first[both], lying[both]
    one, other = one - one.mean(), other - other.mean()
    energy = float(np.sqrt((one @ one) * (other @ other)))
    return _Fit(matrix, float(one @ other) / energy if energy > 1e-9 else -1.0, overlap)


def _refined(start: _Fit, first: Picture, second: Picture, steps: int) -> _Fit:
    """The map near another that fits best. What is covered counts half: no map may win by showing
    less."""
    from scipy.optimize import minimize

    if start.correlation <= 0:
        return start
    side = float(max(first.shape))
    units = np.array([[1 / side, 1 / side, 1.0], [1 / side, 1 / side, 1.0]])

    def matrix(numbers: Any) -> Matrix:
        return np.asarray(start.matrix + numbers.reshape(2, 3) * units)

    def unlike(numbers: Any) -> float:
        fit = _judged(matrix(numbers), first, second)
        return -fit.correlation * (0.5 + fit.overlap / 2)

    corners = np.vstack([np.zeros(6), 2.0 * np.eye(6)])
    options = {"maxfev": steps, "initial_simplex": corners, "xatol": 1e-2, "fatol": 1e-5}
    found = minimize(unlike, np.zeros(6), method="Nelder-Mead", options=options)
    return _judged(matrix(found.x), first, second)
