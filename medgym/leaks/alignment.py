"""The closer comparison: whether two small pictures show one image, one of them perhaps cut.

Hashes say only that two images are alike as a whole, and images of one anatomy are. What tells one
patient from another is detail. So detail is compared (what a blur takes away), after the window of
one image was found that the other shows.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PATCHES = 7
"""Patches in a row. Those at the border are not compared: what lies beyond a cut is not known."""

FARTHEST = 0.12
"""How far a side of a fitted window may lie from the image's own, in parts of the image."""

FLOOR = 0.1
"""The least energy that a patch is measured by, in parts of the mean of all patches: of a patch
without detail the noise says nothing."""


def details(thumbs: NDArray[np.uint8]) -> Floats:
    """What thumbs, (n, side, side), show beside their coarse shape, without noise of a pixel."""
    from scipy.ndimage import gaussian_filter1d

    def blurred(of: Floats, sigma: float) -> Floats:
        for axis in (1, 2):
            of = gaussian_filter1d(of, sigma, axis=axis, mode="nearest", truncate=3.0)
        return of

    grey = thumbs.astype(np.float32)
    made: Floats = blurred(grey, 0.7) - blurred(grey, 3.0)
    return made


def fitted(first: Floats, second: Floats, windows: Floats, steps: int = 8) -> tuple[Floats, Floats]:
    """The window of each of `second` that `first` shows, and the correlation of details under it.

    Args:
        first: details, (n, side, side).
        second: those of which `first` may show a window.
        windows: the windows to begin with, (n, 4): left, right, top and bottom, 0 to 1.
        steps: of Gauss-Newton.
    """
    at = windows.astype(np.float32)
    seen = _seen(second, at)
    best, best_at = _correlation(first, seen), at
    side = second.shape[1]
    margin = side // 16
    inner = slice(margin, side - margin)
    before = slice(margin - 1, side - margin - 1)
    after = slice(margin + 1, side - margin + 1)
    place = ((np.arange(side, dtype=np.float32) + 0.5) / side)[inner]
    across, down = place[None, None, :], place[None, :, None]
    spread = _spread(first)
    own = np.array([0, 1, 0, 1], np.float32)
    for _ in range(steps):
        scale = (spread / np.maximum(_spread(seen), 1e-6))[:, None, None]
        seen = (seen * scale).astype(np.float32, copy=False)
        missing = (first - seen)[:, inner, inner]
        right = (seen[:, inner, after] - seen[:, inner, before]) * (side / 2)
        lower = (seen[:, after, inner] - seen[:, before, inner]) * (side / 2)
        slopes = [right * (1 - across), right * across, lower * (1 - down), lower * down]
        jacobian = np.stack(slopes, axis=1).reshape(len(at), 4, -1)
        normal = jacobian @ jacobian.transpose(0, 2, 1)
        damping = np.trace(normal, axis1=1, axis2=2)[:, None, None] * 1e-3 + 1e-6
        wanted = jacobian @ missing.reshape(len(at), -1, 1)
        step = np.linalg.solve(normal + damping * np.eye(4, dtype=np.float32), wanted)
        at = at + np.clip(step[:, :, 0], -0.03, 0.03)
        at = np.clip(at, own - FARTHEST, own + FARTHEST).astype(np.float32)
        seen = _seen(second, at)
        now = _correlation(first, seen)
        better = now > best
        best = np.where(better, now, best)
        best_at = np.where(better[:, None], at, best_at)
    return best, best_at


def odd_patch(first: Floats, second: Floats, windows: Floats) -> Floats:
    """How much the patch differs that differs second most: 0 for equal, 1 for as much as it shows.

    A copy is a copy everywhere. Two images of one anatomy agree at its outlines and differ in some
    patches. One patch is let pass, for text that was burnt in, or a mark.
    """
    seen = _seen(second, windows)
    seen *= (_spread(first) / np.maximum(_spread(seen), 1e-6))[:, None, None]
    margin, count = first.shape[1] // 16, len(first)
    patch = (first.shape[1] - 2 * margin) // PATCHES
    shape = count, PATCHES, patch, PATCHES, patch
    inner = slice(margin, margin + patch * PATCHES)
    a, b = first[:, inner, inner].reshape(shape), seen[:, inner, inner].reshape(shape)
    differs = ((a - b) ** 2).mean(axis=(2, 4)).reshape(count, -1)
    energy = ((a * a + b * b) / 2).mean(axis=(2, 4)).reshape(count, -1)
    share = differs / (energy + FLOOR * energy.mean(axis=1, keepdims=True) + 1e-9)
    made: Floats = np.partition(share, -2, axis=1)[:, -2]
    return made


def _seen(images: Floats, windows: Floats) -> Floats:
    """The windows of images, each at the size of the images. Beyond the border it is the border."""
    count, side, _ = images.shape
    place = (np.arange(side, dtype=np.float32) + 0.5) / side

    def sampled(low: Floats, high: Floats) -> tuple[NDArray[np.intp], Floats]:
        at = (low[:, None] + (high - low)[:, None] * place) * side - 0.5
        at = np.clip(at, 0, side - 1)
        base = np.minimum(at.astype(np.intp), side - 2)
        return base, (at - base).astype(np.float32)

    column, across = sampled(windows[:, 0], windows[:, 1])
    row, down = sampled(windows[:, 2], windows[:, 3])
    number = np.arange(count)[:, None]
    upper, lower = images[number, row], images[number, row + 1]
    rows = (upper + (lower - upper) * down[:, :, None]).transpose(0, 2, 1)
    left, right = rows[number, column], rows[number, column + 1]
    made: Floats = (left + (right - left) * across[:, :, None]).transpose(0, 2, 1)
    return made


def _inner(images: Floats) -> Floats:
    margin = images.shape[1] // 16
    cut = images[:, margin:-margin, margin:-margin].reshape(len(images), -1)
    made: Floats = cut - cut.mean(axis=1, keepdims=True)
    return made


def _spread(images: Floats) -> Floats:
    made: Floats = _inner(images).std(axis=1)
    return made


def _correlation(first: Floats, second: Floats) -> Floats:
    a, b = _inner(first), _inner(second)
    norms = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    made: Floats = (a * b).sum(axis=1) / np.maximum(norms, 1e-6)
    return made
