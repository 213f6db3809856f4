"""Pairs of images that show one image: exact copies by their hash, others by several steps.

1. Codes: a hash of one image is within `NEAR` bits of one of a window of the other. Such pairs are
   found in buckets of equal parts of hashes, so not all pairs are looked at.
2. The longer hash of the same two is within `NEAR_LONG` of 256 bits.
3. The detail of the two, after the window was fitted, agrees: as a whole (`LIKE`), and in each
   patch but one (`ODD`), first at 64 pixels a side, then at 128, for which the images are opened
   again.

The limits were measured: docs/checking-cases.md has the rates.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.leaks.alignment import Floats, details, fitted, odd_patch
from medgym.leaks.fingerprint import WINDOWS, Fingerprint

NEAR = 7
NEAR_LONG = 54
LIKE = (0.85, 0.93, 0.94)
"""The least correlation of detail at 32, 64 and 128 pixels a side."""
ODD = (0.42, 0.30)
"""The most that a patch may differ, at 64 and at 128 pixels a side."""

CLOSE = 128
BLOCK = 32
_MOST = 2_000_000
_WORDS = 4
"""Parts of 16 bits of a hash of 64. Of two hashes within 7 bits one part differs in at most one."""

Ints = NDArray[np.intp]
Picture = Callable[[int], "NDArray[np.uint8] | None"]


@dataclass(frozen=True)
class NearPair:
    """Two images, by their numbers, that show one image.

    Attributes:
        first, second: the numbers, the lower one first.
        likeness: the correlation of their detail, 1 for exact copies.
        exact: whether all values are equal.
    """

    first: int
    second: int
    likeness: float
    exact: bool = False


def near_pairs(
    prints: Sequence[Fingerprint],
    apart: NDArray[np.uint64] | None = None,
    picture: Picture | None = None,
) -> list[NearPair]:
    """Pairs of images that show one image, of different `sha256`.

    Args:
        prints: of different images.
        apart: of each image a bit for every split that it is in: only pairs are looked for that are
            in two splits. None for all pairs.
        picture: opens the image of a number at `CLOSE` pixels a side; None where it cannot be.
            Where it is not given, the thumbs alone decide.
    """
    if len(prints) < 2:
        return []
    codes = np.stack([each.codes for each in prints])
    usable = np.flatnonzero([not each.is_flat for each in prints])
    first, second, window = _candidates(codes, usable, apart)
    if not len(first):
        return []
    found: list[NearPair] = []
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        found += _agreed(prints, first[part], second[part], window[part], picture)
    best: dict[tuple[int, int], NearPair] = {}
    for pair in found:
        key = pair.first, pair.second
        if key not in best or best[key].likeness < pair.likeness:
            best[key] = pair
    return sorted(best.values(), key=lambda pair: (pair.first, pair.second))


def is_near(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether two images show one image, by their fingerprints alone. Cheap where they do not."""
    if first.sha256 == second.sha256:
        return True
    if first.is_flat or second.is_flat:
        return False
    prints = first, second
    for one, other in ((0, 1), (1, 0)):
        short, long = _bits_apart(prints[one].codes[0], prints[other].codes)
        near = np.flatnonzero((short <= NEAR) & (long <= NEAR_LONG))
        if len(near):
            window = near[[np.argmin(long[near])]]
            if any(_agreed(prints, np.array([one]), np.array([other]), window, None)):
                return True
    return False


def alike(
    first: Sequence[Fingerprint], second: Sequence[Fingerprint]
) -> list[tuple[Fingerprint, Fingerprint]]:
    """The pairs of one of each for which it is worth asking `is_near`; it is near in no other.

    Their codes are compared all at once, which is what makes it cheap for series of many images.
    """
    if not (first and second):
        return []
    codes = [np.stack([each.codes for each in prints]) for prints in (first, second)]
    near = np.zeros((len(first), len(second)), bool)
    for one, other, into in ((0, 1, near), (1, 0, near.T)):
        for row, whole in enumerate(codes[one][:, 0]):
            short, long = _bits_apart(whole, codes[other])
            into[row] |= ((short <= NEAR) & (long <= NEAR_LONG)).any(axis=1)
    hashes = [np.array([each.sha256 for each in prints]) for prints in (first, second)]
    near |= hashes[0][:, None] == hashes[1][None, :]
    return [(first[i], second[j]) for i, j in np.argwhere(near)]


def _bits_apart(whole: NDArray[np.uint64], codes: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """In how many bits a code differs from others: in the nearer of both short hashes, and in the
    long one."""
    apart = np.bitwise_count(whole ^ codes)
    return apart[..., :2].min(axis=-1), apart[..., 2:].sum(axis=-1)


def _agreed(
    prints: Sequence[Fingerprint],
    first: Ints,
    second: Ints,
    window: Ints,
    picture: Picture | None,
) -> Iterator[NearPair]:
    """The pairs of a block whose detail agrees."""
    one = details(np.stack([prints[i].thumb for i in first]))
    other = details(np.stack([prints[i].thumb for i in second]))
    like, at = fitted(_halved(one), _halved(other), WINDOWS[window], steps=4)
    left = like >= LIKE[0]
    if not left.any():
        return
    one, other, first, second = one[left], other[left], first[left], second[left]
    like, at = fitted(one, other, at[left], steps=3)
    passes = (like >= LIKE[1]) & (odd_patch(one, other, at) <= ODD[0])
    for place in np.flatnonzero(passes):
        a, b = int(first[place]), int(second[place])
        likeness = float(like[place])
        if picture is not None:
            closer = _closer(prints, a, b, at[place], picture)
            if closer is None:
                continue
            likeness = closer
        yield NearPair(min(a, b), max(a, b), min(likeness, 1.0))


def _closer(
    prints: Sequence[Fingerprint], a: int, b: int, window: Floats, picture: Picture
) -> float | None:
    """The likeness of two images at `CLOSE` pixels a side; None where they differ."""
    if min(*prints[a].size, *prints[b].size) < CLOSE:
        like, at = fitted(*_pair(prints[a].thumb, prints[b].thumb), window[None], steps=3)
        odd = odd_patch(*_pair(prints[a].thumb, prints[b].thumb), at)
    else:
        shown = picture(a), picture(b)
        if shown[0] is None or shown[1] is None:
            return None
        one, other = _pair(shown[0], shown[1])
        like, at = fitted(one, other, window[None], steps=4)
        odd = odd_patch(one, other, at)
    return float(like[0]) if like[0] >= LIKE[2] and odd[0] <= ODD[1] else None


def _pair(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    return details(a[None]), details(b[None])


def _halved(images: Floats) -> Floats:
    count, side, _ = images.shape
    made: Floats = images.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return made


def _candidates(
    codes: NDArray[np.uint64], usable: Ints, apart: NDArray[np.uint64] | None
) -> tuple[Ints, Ints, Ints]:
    """Pairs whose hashes are near: the whole of the first, and a window of the second. Of a pair
    only its nearest window is kept."""
    count, windows = len(codes), codes.shape[1]
    owner = np.repeat(usable, windows)
    number = np.tile(np.arange(windows), len(usable))
    kept: dict[int, tuple[int, int, int, int]] = {}
    for kind in (0, 1):
        table = codes[usable, :, kind].reshape(-1)
        for a, where in _within(codes[usable, 0, kind], table):
            i, j, w = usable[a], owner[where], number[where]
            right = i != j
            if apart is not None:
                both = apart[i] | apart[j]
                right &= np.bitwise_count(both) > 1
            i, j, w = i[right], j[right], w[right]
            long = np.bitwise_count(codes[i, 0, 2:] ^ codes[j, w, 2:]).sum(axis=1)
            near = long <= NEAR_LONG
            for one, other, which, bits in zip(i[near], j[near], w[near], long[near], strict=True):
                key = min(one, other) * count + max(one, other)
                if key not in kept or bits < kept[key][3]:
                    kept[key] = int(one), int(other), int(which), int(bits)
    found = np.array(list(kept.values()), np.intp).reshape(-1, 4)
    return found[:, 0], found[:, 1], found[:, 2]


def _within(queries: NDArray[np.uint64], table: NDArray[np.uint64]) -> Iterator[tuple[Ints, Ints]]:
    """Places of queries and of entries of a table that are within `NEAR` bits, in blocks."""
    flips = np.concatenate([[0], 1 << np.arange(16)]).astype(np.uint64)
    for word in range(_WORDS):
        shift = np.uint64(16 * word)
        parts = (table >> shift) & np.uint64(0xFFFF)
        order = np.argsort(parts, kind="stable")
        ends = np.searchsorted(parts[order], np.arange(65537))
        probes = (((queries >> shift) & np.uint64(0xFFFF))[:, None] ^ flips).astype(np.intp)
        starts = ends[probes].reshape(-1)
        counts = (ends[probes + 1] - ends[probes]).reshape(-1)
        asked = np.repeat(np.arange(len(queries)), len(flips))
        total = np.cumsum(counts)
        begin = 0
        while begin < len(counts):
            done = total[begin - 1] if begin else 0
            end = max(int(np.searchsorted(total, done + _MOST)), begin + 1)
            lengths = counts[begin:end]
            inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            where = order[np.repeat(starts[begin:end], lengths) + inside]
            who = np.repeat(asked[begin:end], lengths)
            near = np.bitwise_count(queries[who] ^ table[where]) <= NEAR
            yield who[near], where[near]
            begin = end
