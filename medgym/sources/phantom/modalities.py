"""The pixels of a phantom: a background of its look, then the lesion's texture, in integers.

Everything rests on one invariant: two phantoms that differ only in the lesion's kind have the same
bytes in every overview that the source supports. It holds by construction:

- The background is fixed before the kind is known. It leaves head-room for the full contrast, so
  adding the texture never clips.
- The lesion consists of whole blocks of the grid. For each supported overview, such a block
  consists of whole `k` x `k` squares, where `k` is a power of two and a multiple of twice the
  half-period.
- Each texture has the same sum in every `k` x `k` square. Vertical stripes, checkers and oblique
  stripes have the same sum in every row of a square too. Horizontal stripes raise whole rows by an
  integer; a mean over `k` pixels of a row is then exact, so Pillow's rounding between its two
  passes changes nothing.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medgym.seeds import seed_of
from medgym.sources.phantom.anatomy import PAINTERS, cloud
from medgym.sources.phantom.rng import RandomStream

Pixels = NDArray[np.uint8]

KINDS = ("striated", "banded", "granular", "oblique")
"""The four textures: vertical stripes, horizontal stripes, a checkerboard, diagonal stripes."""

SHADES = 8
"""Number of sheets of smooth shading for each side and pool."""


@dataclass(frozen=True)
class Appearance:
    """How one look is drawn.

    Attributes:
        colour: whether there are three channels, else one.
        contrast: grey levels between the two tones of a texture; even, so that its mean is an
            integer.
        dark: whether the texture is subtracted, else added. The background leaves room for it at
            its lower end, else at its upper end.
        flips: whether the background may be mirrored left to right.
        paintings: how many each pool has; place, gain, shading and grain vary each of them.
        shading, grain: the greatest levels of smooth shading and of grain that are added.
    """

    colour: bool
    contrast: int = 96
    dark: bool = False
    flips: bool = True
    paintings: int = 24
    shading: int = 14
    grain: int = 12

    @property
    def top(self) -> int:
        """The brightest level of a painting, before shading and grain."""
        return (255 if self.dark else 255 - self.contrast) - self.shading - self.grain


APPEARANCES = {
    "radiograph": Appearance(colour=False, flips=False, contrast=144, shading=6),
    "ct": Appearance(colour=False, flips=False, shading=6),
    "fundus": Appearance(colour=True, contrast=80, paintings=16, shading=6),
    "histology": Appearance(colour=True, contrast=112, dark=True, paintings=16),
}


@dataclass(frozen=True)
class Grid:
    """The grid of one image side, all in pixels.

    Attributes:
        half_period: the width of one stripe of a texture.
        block: the side of a block, of which a lesion consists; a multiple of four half-periods.
        paint: the side at which the background is painted before it is enlarged to the image's.
    """

    half_period: int
    block: int
    paint: int


GRIDS = {
    256: Grid(half_period=2, block=8, paint=256),
    512: Grid(half_period=4, block=16, paint=512),
    896: Grid(half_period=2, block=32, paint=448),
    1024: Grid(half_period=4, block=32, paint=512),
    1792: Grid(half_period=2, block=64, paint=448),
    3584: Grid(half_period=4, block=128, paint=448),
}
"""Each image side in pixels (the verified pairs of the construction) with its grid."""


def view_sizes(size: int) -> tuple[int, ...]:
    """The overview sides at which an image of `size` provably hides the kind."""
    half = GRIDS[size].half_period
    return size // (4 * half), size // (2 * half)


def tile(kind: str, half_period: int, block: int) -> NDArray[np.bool_]:
    """Where one block of the texture `kind` has its second tone: (block, block) booleans."""
    line = np.arange(block)
    x, y = line[None, :], line[:, None]
    phase: NDArray[np.int_] = {
        "striated": x // half_period + 0 * y,
        "banded": y // half_period + 0 * x,
        "granular": x // half_period + y // half_period,
        "oblique": (x + y) // half_period,
    }[kind]
    return np.equal(phase % 2, 1)


@dataclass(frozen=True)
class Lesion:
    """A texture on whole blocks; `cells` are (column, row) on the block grid."""

    kind: str
    cells: tuple[tuple[int, int], ...]


def draw(look: str, size: int, seed: int, pool: str, lesion: Lesion | None) -> Pixels:
    """The phantom's pixels: (size, size) or (size, size, 3) uint8.

    Args:
        seed: of the background, which otherwise depends only on `pool`, `look` and `size`.
        pool: names the set of paintings; each split has its own.
    """
    pixels = background(look, size, seed, pool)
    if lesion is not None:
        add_texture(pixels, look, size, lesion)
    return pixels


def add_texture(pixels: Pixels, look: str, size: int, lesion: Lesion) -> None:
    """Add (or, in a dark look, subtract) the lesion's texture, in place; all channels alike."""
    grid, side = GRIDS[size], GRIDS[size].block
    second = tile(lesion.kind, grid.half_period, side)
    levels = second.astype(np.uint8) * np.uint8(APPEARANCES[look].contrast)
    if APPEARANCES[look].colour:
        levels = levels[:, :, None]
    for column, row in lesion.cells:
        part = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
        if APPEARANCES[look].dark:
            part -= levels
        else:
            part += levels


def background(look: str, size: int, seed: int, pool: str) -> Pixels:
    """A fresh background with head-room for the texture: (size, size) or (size, size, 3) uint8."""
    style, grid, rng = APPEARANCES[look], GRIDS[size], RandomStream(seed)
    side = grid.paint
    member = rng.integer(0, style.paintings)
    mirrored = style.flips and rng.integer(0, 2) == 1
    pixels = _cut(painting(look, side, pool, member, mirrored), side, rng)
    pixels = _toned(pixels, _gain(rng.integer(0, GAINS), style.top if style.dark else 0))
    pixels += _cut(_shade(style, side, pool, rng.integer(0, SHADES)), side, rng)
    while side < size:
        pixels, side = doubled(pixels), side * 2
    pixels += _cut(grain_sheet(style, size), size, rng)
    # The room for the texture. A bright look keeps it by the sums of Appearance.top already.
    if style.dark:
        return np.maximum(pixels, np.uint8(style.contrast), out=pixels)
    return np.minimum(pixels, np.uint8(255 - style.contrast), out=pixels)


def _cut(sheet: Pixels, side: int, rng: RandomStream) -> Pixels:
    spare = sheet.shape[0] - side
    top, left = rng.integer(0, spare + 1), rng.integer(0, spare + 1)
    return sheet[top : top + side, left : left + side]


GAINS = 16


@lru_cache(maxsize=4 * GAINS)
def _gain(step: int, pivot: int) -> bytes:
    """A table of 256 levels: the distance from `pivot` shrinks to between 85 and 100 %."""
    distance = np.arange(256) - pivot
    shrunk = (np.abs(distance) * (100 - step) + 50) // 100
    table: Pixels = (pivot + np.sign(distance) * shrunk).astype(np.uint8)
    return table.tobytes()


def _toned(pixels: Pixels, table: bytes) -> Pixels:
    # bytes.translate is the fastest table look-up that Python has: 5 times NumPy's take.
    toned = bytearray(pixels.tobytes()).translate(table)
    return np.frombuffer(toned, dtype=np.uint8).reshape(pixels.shape)


@lru_cache(maxsize=256)
def painting(look: str, side: int, pool: str, member: int, mirrored: bool) -> Pixels:
    """One of a pool's paintings of a look, with a margin of a sixteenth of its side all round."""
    if mirrored:
        return np.ascontiguousarray(painting(look, side, pool, member, False)[:, ::-1])
    rng = RandomStream(seed_of("phantom painting", look, side, pool, member))
    return np.ascontiguousarray(PAINTERS[look](rng, side, side // 16, APPEARANCES[look].top))


@lru_cache(maxsize=12 * SHADES)
def _shade(style: Appearance, side: int, pool: str, member: int) -> Pixels:
    rng = RandomStream(seed_of("phantom shading", side, pool, member))
    sheet = cloud(rng, 6, side + side // 4) * np.float32(style.shading)
    return _channels(sheet.astype(np.uint8), style)


@lru_cache(maxsize=6)
def grain_sheet(style: Appearance, size: int) -> Pixels:
    """Grain of 0 to `style.grain` levels, of five quarters of the side, to be cut at any place."""
    rng = RandomStream(seed_of("phantom grain", size))
    side = size + size // 4
    shape = (side, side, 3) if style.colour else (side, side)
    both = rng.bytes(*shape).astype(np.uint16) + rng.bytes(*shape)
    return (both * np.uint16(style.grain) // np.uint16(510)).astype(np.uint8)


def _channels(sheet: Pixels, style: Appearance) -> Pixels:
    return np.repeat(sheet[:, :, None], 3, axis=2) if style.colour else sheet


def doubled(pixels: Pixels) -> Pixels:
    """The image at twice the side, interpolated linearly, in integers."""
    for axis in (0, 1):
        last = pixels.shape[axis] - 1
        at = np.arange(last + 1)
        here = pixels.astype(np.uint16) * np.uint16(3) + np.uint16(2)
        before = np.take(pixels, np.maximum(at - 1, 0), axis)
        after = np.take(pixels, np.minimum(at + 1, last), axis)
        pair = np.stack([(here + before) >> 2, (here + after) >> 2], axis=axis + 1)
        shape = tuple(n * (2 if i == axis else 1) for i, n in enumerate(pixels.shape))
        pixels = pair.astype(np.uint8).reshape(shape)
    return pixels
