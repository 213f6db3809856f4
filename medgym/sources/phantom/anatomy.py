"""The backgrounds of phantoms: one painter for each look, from random numbers to grey or colour.

A painter paints an image of `side` pixels with a margin all round, so that a phantom can cut its
background out at many places. A painting has the same bytes on every machine. So painters use only
+ - * / floor, comparisons and clipping, on float32, which IEEE arithmetic rounds alike everywhere;
sin, exp and powers differ between machines, and matrix products depend on the BLAS.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.sources.phantom.rng import RandomStream

Real = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def smooth(t: NDArray[Any]) -> Real:
    """0 below 0, 1 above 1, and a smooth step between."""
    t = np.maximum(t, np.float32(0))
    np.minimum(t, np.float32(1), out=t)
    step: Real = np.float32(-2) * t
    step += np.float32(3)
    t *= t
    step *= t
    return step


def quantised(levels: Real, top: int) -> Bytes:
    """Levels rounded to 0..top."""
    rounded: Real = np.floor(np.clip(levels, 0, top) + np.float32(0.5))
    return rounded.astype(np.uint8)


def frame(side: int, margin: int) -> tuple[Real, Real]:
    """x of shape (1, n) and y of shape (n, 1), n = side + 2 margin; the side spans -1..1."""
    n = np.arange(-margin, side + margin, dtype=np.float32)
    line = (2 * n + 1) / np.float32(side) - 1
    return line[None, :], line[:, None]


def cloud(rng: RandomStream, cells: int, side: int) -> Real:
    """Smooth noise in [0, 1): a lattice of `cells` x `cells` random levels, interpolated."""
    lattice = rng.reals(cells + 1, cells + 1)
    at = np.arange(side, dtype=np.float32) * np.float32(cells / side)
    low = np.floor(at).astype(np.intp)
    part = smooth(at - low.astype(np.float32))
    rows = lattice[low] + (lattice[low + 1] - lattice[low]) * part[:, None]
    across = np.take(rows, low, axis=1)
    out: Real = np.take(rows, low + 1, axis=1)
    out -= across
    out *= part
    out += across
    return out


def ellipse(x: Real, y: Real, cx: float, cy: float, rx: float, ry: float, edge: float) -> Real:
    """1 inside, 0 outside, softly over the relative width `edge`."""
    u, v = (x - np.float32(cx)) / np.float32(rx), (y - np.float32(cy)) / np.float32(ry)
    level: Real = u * u + v * v
    np.subtract(np.float32(1), level, out=level)
    level /= np.float32(edge)
    level += np.float32(0.5)
    return smooth(level)


def radiograph(rng: RandomStream, side: int, margin: int, top: int) -> Bytes:
    """A chest from the front: lungs, ribs, clavicles, spine, heart, diaphragm. (n, n)."""
    x, y = frame(side, margin)
    real, n = rng.real, side + 2 * margin
    lean = real(-0.03, 0.03)
    xm = x - np.float32(lean)  # the patient's midline
    far = np.abs(xm)
    # Trunk with sloping shoulders and a neck.
    half = 0.20 + real(0.66, 0.74) * smooth((y + real(0.92, 0.98)) / np.float32(0.42))
    trunk = smooth((half - far) / np.float32(0.10) + np.float32(0.5))
    # Lungs: narrower towards the apex, cut below by the domes of the diaphragm.
    lungs = np.zeros((n, n), np.float32)
    for way in (-1, 1):
        cx, rx, cy, ry = real(0.38, 0.43), real(0.29, 0.33), real(-0.06, 0.0), real(0.64, 0.70)
        taper = np.float32(rx) * (np.float32(0.62) + np.float32(0.38) * smooth((y + 0.75) / 1.0))
        u, v = (way * xm - np.float32(cx * 0.93)) / taper, (y - np.float32(cy)) / np.float32(ry)
        field = smooth((1 - (u * u + v * v)) / np.float32(0.30) + np.float32(0.5))
        u = (way * xm - np.float32(cx)) / np.float32(rx)
        dome = np.float32(real(0.36, 0.46) + (0.05 if way > 0 else 0.0)) + u * u * np.float32(0.13)
        lungs += field * smooth((dome - y) / np.float32(0.05) + np.float32(0.5))
    # Ribs run from the spine outwards: the posterior ones gently down, the anterior ones steeply.
    pitch, start = real(0.135, 0.155), real(0.0, 1.0)
    back = (y - np.float32(0.10) * far + np.float32(0.42) * far * far) / np.float32(pitch) + start
    front = (y - np.float32(0.85) * far + np.float32(0.25) * far * far) / np.float32(pitch * 1.15)
    ribs = np.zeros((n, n), np.float32)
    for phase, strength in ((back, real(15, 19)), (front, real(5, 8))):
        part = np.abs(phase - np.floor(phase) - np.float32(0.5))
        ribs += np.float32(strength) * smooth((np.float32(0.27) - part) / np.float32(0.12))
    cage = ellipse(xm, y, 0, 0.0, 0.80, 0.86, 0.25)
    markings = cloud(rng, 44, n) + cloud(rng, 21, n)
    hilum = ellipse(far, y, 0.17, real(-0.02, 0.06), 0.16, 0.24, 1.6)
    levels = np.float32(6) + trunk * np.float32(real(76, 88))
    levels += lungs * (
        np.float32(-58) + (np.float32(3) + 10 * hilum) * (markings - np.float32(0.7))
    )
    levels += cage * ribs * trunk * (np.float32(0.35) + np.float32(0.65) * lungs)
    # Midline: mediastinum, heart to the image's right, spine with its discs.
    heart = ellipse(xm, y, real(0.10, 0.15), real(0.24, 0.30), real(0.26, 0.32), 0.25, 0.35)
    chest = smooth((np.float32(0.13) - far) / np.float32(0.09) + np.float32(0.5))
    vessels = ellipse(xm, y, real(0.02, 0.06), -0.22, 0.14, 0.20, 0.6)
    mid = np.maximum(np.maximum(heart * np.float32(0.92), chest), vessels * np.float32(0.9))
    levels += trunk * mid * (np.float32(14) + lungs * np.float32(real(40, 46)))
    disc = y / np.float32(0.115) + start
    disc = np.abs(disc - np.floor(disc) - np.float32(0.5))
    bones = smooth((np.float32(0.075) - far) / np.float32(0.03)) * smooth((disc - 0.04) / 0.06)
    levels += trunk * bones * np.float32(9)
    # The air of the trachea, the clavicles, the liver's and the stomach's brightness below.
    air = smooth((np.float32(0.035) - far) / np.float32(0.03)) * smooth((-0.18 - y) / 0.12)
    levels -= air * np.float32(16) * trunk
    slope = np.float32(-0.64) - np.float32(real(0.10, 0.2)) * (far - np.float32(0.1))
    collar = smooth((np.float32(0.035) - np.abs(y - slope)) / np.float32(0.02))
    reach = smooth((far - 0.05) / 0.04) * smooth((np.float32(0.72) - far) / np.float32(0.05))
    levels += collar * reach * np.float32(16) * trunk
    levels += trunk * smooth((y - 0.4) / 0.3) * (1 - lungs) * np.float32(12)
    # Drawn for 133 levels; a stronger texture leaves fewer.
    return quantised(levels * np.float32(top / 133), top)


def ct(rng: RandomStream, side: int, margin: int, top: int) -> Bytes:
    """A slice of the upper abdomen: liver, stomach, spleen, kidneys, spine, ribs. (n, n)."""
    straight, bend = frame(side, margin), 0.05
    real, n = rng.real, side + 2 * margin
    # Everything is bent a little, so that no outline is a perfect ellipse.
    x, y = (s + (cloud(rng, 5, n) - np.float32(0.5)) * np.float32(2 * bend) for s in straight)
    levels = np.full((n, n), np.float32(3))
    grain = cloud(rng, 40, n) + cloud(rng, 19, n) - np.float32(1)

    def lay(
        cx: float, cy: float, rx: float, ry: float, edge: float, value: float, grains: float = 0
    ) -> None:
        """Cover an ellipse with `value`; only the window around it is touched."""
        window = []
        for centre, radius in ((cy, ry), (cx, rx)):
            reach = radius * (1 + edge / 4) + bend
            first = int((centre - reach + 1) * side / 2) + margin - 1
            window.append(slice(max(first, 0), max(first + int(reach * side) + 3, 0)))
        at = tuple(window)
        cover = np.float32(value) + grain[at] * np.float32(grains) - levels[at]
        levels[at] += ellipse(x[at], y[at], cx, cy, rx, ry, edge) * cover

    wide, high, fat = real(0.84, 0.92), real(0.66, 0.72), real(0.05, 0.11)
    lay(0, 0, wide, high, 0.03, 60)  # skin
    lay(0, 0, wide - 0.015, high - 0.015, 0.03, 34, 3)  # fat under it
    lay(0, 0.01, wide - fat, high - fat, 0.05, 76, 4)  # muscle
    lay(0, -0.02, wide - fat - 0.07, high - fat - 0.08, 0.08, 40, 3)  # fat within
    for cx, cy in ((0.52, -0.50), (0.80, -0.26), (0.90, 0.08), (0.78, 0.42), (0.50, 0.66)):
        for way in (-1, 1):
            across = way * cx * (wide - fat - 0.03)
            down = cy * (high - fat - 0.03) / 0.83 + real(0, 0.03)
            lay(across, down, real(0.03, 0.06), real(0.025, 0.04), 0.6, 126)
    for _ in range(7):  # loops of bowel
        cx, cy, rx, ry = real(-0.1, 0.38), real(-0.36, 0.06), real(0.06, 0.13), real(0.05, 0.09)
        lay(cx, cy, rx, ry, 0.35, real(70, 86), 4)
        lay(cx, cy, rx * 0.5, ry * 0.5, 0.8, real(44, 70))
    liver = real(94, 102)
    lay(-0.42, real(-0.06, 0.02), real(0.32, 0.36), real(0.40, 0.44), 0.10, liver, 7)
    lay(-0.14, real(-0.26, -0.20), real(0.30, 0.38), real(0.18, 0.22), 0.14, liver, 7)
    lay(real(-0.28, -0.20), real(-0.14, -0.06), 0.07, 0.09, 0.5, 66)  # gall bladder
    for _ in range(5):  # vessels of the liver
        lay(real(-0.56, -0.22), real(-0.24, 0.22), real(0.02, 0.06), real(0.015, 0.03), 1.2, 112)
    cx, cy, rx, ry = real(0.26, 0.34), real(-0.30, -0.22), real(0.20, 0.26), real(0.16, 0.20)
    lay(cx, cy, rx, ry, 0.12, 82, 3)  # the stomach's wall, its fluid, the air above the fluid
    lay(cx, cy, rx - 0.035, ry - 0.035, 0.15, 62, 2)
    air = ellipse(x, y, cx, cy, rx - 0.035, ry - 0.035, 0.15)
    air *= smooth((np.float32(cy - 0.02) - straight[1]) / np.float32(0.02))
    levels += air * (np.float32(6) - levels)
    lay(real(0.54, 0.60), real(0.06, 0.14), real(0.13, 0.16), real(0.26, 0.31), 0.1, 104, 6)
    for way in (-1, 1):
        cx, cy = way * real(0.30, 0.35), real(0.24, 0.30)
        lay(cx, cy, real(0.11, 0.13), real(0.15, 0.18), 0.16, 118, 4)  # kidney
        lay(cx - way * 0.05, cy, 0.05, 0.07, 0.7, 62)
        lay(way * 0.17, 0.50, 0.13, 0.10, 0.3, 78, 5)  # muscles of the back
        lay(way * 0.15, 0.30, 0.06, 0.11, 0.3, 78, 5)
    lay(real(0.00, 0.05), real(0.08, 0.12), 0.055, 0.055, 0.3, 116)  # aorta
    lay(real(-0.10, -0.06), real(0.08, 0.12), 0.065, 0.05, 0.4, 108)  # vena cava
    lay(0, 0.29, 0.13, 0.115, 0.2, 132)  # vertebra
    lay(0, 0.29, 0.10, 0.085, 0.6, 110, 6)
    for way in (-1, 1):
        lay(way * 0.12, 0.44, 0.10, 0.03, 0.5, 126)
    lay(0, 0.52, 0.025, 0.09, 0.5, 128)
    lay(0, 0.425, 0.055, 0.045, 0.4, 56)
    return quantised(levels, top)


def fundus(rng: RandomStream, side: int, margin: int, top: int) -> Bytes:
    """The back of an eye: an orange disc on black, optic disc, macula, vessels. (n, n, 3)."""
    x, y = frame(side, margin)
    real, n = rng.real, side + 2 * margin
    dx, dy = real(0.34, 0.44), real(-0.06, 0.06)
    eye = ellipse(x, y, 0, 0, 0.93, 0.93, 0.03)
    rim = np.float32(1) - np.float32(0.34) * (x * x + y * y)
    mottle = cloud(rng, 9, n) + cloud(rng, 27, n) * np.float32(0.6) - np.float32(0.8)
    macula = ellipse(x, y, dx - real(0.58, 0.66), dy + real(0.02, 0.08), 0.22, 0.20, 1.9)
    disc = ellipse(x, y, dx, dy, real(0.125, 0.145), real(0.145, 0.165), 0.22)
    cup = ellipse(x, y, dx - 0.01, dy, 0.065, 0.075, 0.9)
    veins, arteries = _vessels(rng, side, margin, dx, dy)
    hue = real(-1.0, 1.0)
    channels = []
    for base, rich, pale, bright, deep, red in (
        (134 + 4 * hue, 8, 20, 157, 50, 22),
        (64 + 7 * hue, 14, 26, 122, 34, 26),
        (30 + 5 * hue, 8, 12, 76, 15, 10),
    ):
        level = (np.float32(base) + mottle * np.float32(rich)) * rim - macula * np.float32(pale)
        level += disc * (np.float32(bright * 0.9) - level)
        level += disc * cup * np.float32(bright * 0.1)
        level -= veins * np.float32(deep) + arteries * np.float32(red)
        channels.append(quantised(np.float32(4) + level * eye, top))
    return np.stack(channels, axis=2)


def _vessels(rng: RandomStream, side: int, margin: int, dx: float, dy: float) -> tuple[Real, Real]:
    """Veins and arteries as levels in 0..1: walks that start at the optic disc and branch."""
    real = rng.real
    trees: tuple[list[tuple[float, float, float]], ...] = ([], [])
    for tree, thick in zip(trees, (0.0155, 0.0115), strict=True):
        for up in (-1, 1):
            # The temporal arcade bows around the macula, the nasal vessel leaves the other way.
            for hx, hy, bend in ((real(-0.5, -0.1), 1.0, real(0.016, 0.021)), (0.8, 0.8, 0.0)):
                start = dx + real(-0.03, 0.03), dy + up * 0.02
                walk = (*start, hx + real(-0.2, 0.2), up * hy, thick * (1 if bend else 0.7), bend)
                _walk(rng, tree, *walk, turn=up, depth=2)
    n = side + 2 * margin
    return _stamped(trees[0], side, margin, n), _stamped(trees[1], side, margin, n)


def _walk(
    rng: RandomStream,
    points: list[tuple[float, float, float]],
    x: float,
    y: float,
    hx: float,
    hy: float,
    thick: float,
    bend: float,
    *,
    turn: int,
    depth: int,
) -> None:
    pace, wander = 0.008, 0.0
    while x * x + y * y < 0.9 and thick > 0.0035:
        wander = 0.9 * wander + rng.real(-0.02, 0.02)
        curve = wander + turn * bend
        hx, hy = hx - curve * hy, hy + curve * hx
        norm = float(np.sqrt(hx * hx + hy * hy))
        hx, hy = hx / norm, hy / norm
        x, y = x + pace * hx, y + pace * hy
        thick, bend = thick * 0.9945, bend * 0.986
        points.append((x, y, thick))
        if depth and rng.real(0, 1) < 0.024:
            way = 1 if rng.integer(0, 2) else -1
            fork = hx - way * 0.7 * hy, hy + way * 0.7 * hx
            _walk(rng, points, x, y, *fork, thick * 0.68, -0.2 * bend, turn=turn, depth=depth - 1)


def _stamped(points: list[tuple[float, float, float]], side: int, margin: int, n: int) -> Real:
    """Soft discs at (x, y) of a radius, the greatest level of all."""
    out = np.zeros(n * n, np.float32)
    at = np.array(points, dtype=np.float64).reshape(-1, 3)
    px, py = ((at[:, i] + 1) * (side / 2) + margin for i in (0, 1))
    radius = at[:, 2] * (side / 2)
    left, above = np.floor(px).astype(np.intp), np.floor(py).astype(np.intp)
    reach = int(np.floor(radius.max())) + 1
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            u, v = left + i + 0.5 - px, above + j + 0.5 - py
            level = np.clip(radius + 0.5 - np.sqrt(u * u + v * v), 0, 1).astype(np.float32)
            column, row = left + i, above + j
            seen = (level > 0) & (column >= 0) & (column < n) & (row >= 0) & (row < n)
            np.maximum.at(out, row[seen] * n + column[seen], level[seen])
    return out.reshape(n, n)


def histology(rng: RandomStream, side: int, margin: int, top: int) -> Bytes:
    """A stained section: pink cells with purple nuclei, pale gaps between them. (n, n, 3)."""
    n, real = side + 2 * margin, rng.real
    cell = side // 29 + rng.integer(0, 4)  # pixels of one square of the lattice of cells
    count = n // cell + 1
    near, second, nucleus, shade = _cells(rng, cell, count, n)
    wall = smooth((np.float32(0.16) - (np.sqrt(second) - np.sqrt(near))) / np.float32(0.14))
    stain, fibre = cloud(rng, 7, n), cloud(rng, 60, n)
    gap = smooth((np.float32(real(0.16, 0.24)) - cloud(rng, 5, n)) / np.float32(0.05))
    warm = real(-1.0, 1.0)
    channels = []
    for paper, flesh, membrane, core, deep in (
        (229, 218 + 5 * warm, 16, 134, 12),
        (227, 160 - 7 * warm, 24, 114, 12),
        (229, 196 - 4 * warm, 10, 160, 10),
    ):
        level = np.float32(flesh) - np.float32(22) * (stain - np.float32(0.5))
        level -= np.float32(9) * (fibre - np.float32(0.5)) + np.float32(membrane) * wall
        core_level = np.float32(core + deep) - np.float32(2 * deep) * shade
        level += nucleus * (core_level - level) * np.float32(0.9)
        level += gap * (np.float32(paper) - level)
        channels.append(quantised(level, top))
    return np.stack(channels, axis=2)


def _cells(rng: RandomStream, cell: int, count: int, n: int) -> tuple[Real, Real, Real, Real]:
    """Cells as the Voronoi regions of one jittered point in each square of a lattice.

    Squared distances (in squares) to the nearest and second nearest point, the nuclei (0..1) and
    their shade (0..1), each (n, n).
    """
    jitter = rng.reals(6, count + 2, count + 2)
    # Axes: y and x within a square, then row and column of the square: long contiguous runs.
    line = (np.arange(cell, dtype=np.float32) + np.float32(0.5)) / np.float32(cell)
    x, y = line[None, :, None, None], line[:, None, None, None]
    near = np.full((cell, cell, count, count), np.float32(9))
    second, nucleus, shade = near.copy(), np.zeros_like(near), np.zeros_like(near)
    for j in (0, 1, 2):
        for i in (0, 1, 2):
            jx, jy, size, slant, squeeze, tint = jitter[:, j : j + count, i : i + count].copy()
            u = x - (jx * np.float32(0.8) + np.float32(i - 1))
            v = y - (jy * np.float32(0.8) + np.float32(j - 1))
            vv = v * v
            far = u * u + vv
            np.minimum(second, np.maximum(near, far), out=second)
            np.minimum(near, far, out=near)
            oval = u + (slant - np.float32(0.5)) * v
            oval *= oval
            oval += vv * (np.float32(0.8) + np.float32(0.9) * squeeze)
            radius = np.float32(0.052) + np.float32(0.045) * size
            np.subtract(radius, oval, out=oval)
            oval *= np.float32(32)
            oval += np.float32(0.5)
            body = smooth(oval)
            np.maximum(nucleus, body, out=nucleus)
            body *= tint
            np.maximum(shade, body, out=shade)

    def laid_out(values: Real) -> Real:
        wide = values.transpose(2, 0, 3, 1).reshape(count * cell, count * cell)
        return wide[:n, :n]

    return laid_out(near), laid_out(second), laid_out(nucleus), laid_out(shade)


PAINTERS: dict[str, Callable[[RandomStream, int, int, int], Bytes]] = {
    "radiograph": radiograph,
    "ct": ct,
    "fundus": fundus,
    "histology": histology,
}
