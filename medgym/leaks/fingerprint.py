"""The fingerprint of an image: by it two copies of one image are found, exact ones and others.

`sha256` is of the decoded values, so it is the same for one image in two lossless files. `thumb` is
a small grey picture of it, for the closer comparison. `codes` are hashes of the thumb as
`imagehash` makes them (pHash and dHash of 64 bits, pHash of 256 bits), of the whole and of ten
windows of it: of two copies of which one was cut by up to 5 % at a side, one is near a window of
the other.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.slides.image import SlideImage
from medgym.imaging.study import ImageRef, Study, decoded, open_study, place_of
from medgym.imaging.volumes.study import VolumeStudy

SIDE = 64
"""The side of a thumb."""

_CUT = 0.05
_HALF = 0.025
WINDOWS = np.array(
    [
        (0, 1, 0, 1),
        (_HALF, 1 - _HALF, _HALF, 1 - _HALF),
        (_CUT, 1 - _CUT, _CUT, 1 - _CUT),
        (_CUT, 1, 0, 1),
        (0, 1 - _CUT, 0, 1),
        (0, 1, _CUT, 1),
        (0, 1, 0, 1 - _CUT),
        (_CUT, 1, _CUT, 1),
        (0, 1 - _CUT, _CUT, 1),
        (_CUT, 1, 0, 1 - _CUT),
        (0, 1 - _CUT, 0, 1 - _CUT),
    ],
    np.float32,
)
"""The windows that have codes, as left, right, top, bottom: the whole, then what a cut leaves."""

FLAT = 1.0
"""The spread of grey levels of a thumb below which it shows nothing that could be compared."""

SAMPLES = 5
"""Images of a volume or a clip that stand for all of them."""

_OVERVIEW = 512

Codes = NDArray[np.uint64]


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image.

    Attributes:
        sha256: of its decoded values.
        thumb: (SIDE, SIDE), grey.
        codes: (windows, 6): pHash, dHash, and four words of the longer pHash.
        size: (width, height) of the image.
    """

    sha256: str
    thumb: NDArray[np.uint8]
    codes: Codes
    size: tuple[int, int]

    @property
    def is_flat(self) -> bool:
        """Whether it shows nothing, as a black image: then only `sha256` tells."""
        return float(self.thumb.std()) < FLAT


def fingerprint(ref: ImageRef) -> Fingerprint:
    """Open an image and take its fingerprint. Of several, as in a volume, some stand for all: the
    hash is of five, evenly spread, and of the count; the thumb is of the middle one.

    Raises:
        UserError: it cannot be opened.
    """
    study, places = _places(ref)
    if len(places) == 1:
        return fingerprint_of(decoded(study, ref, places[0]))
    whole = hashlib.sha256(str(sorted((n, p.count) for n, p in study.planes.items())).encode())
    images = [study.image(*place) for place in places]
    for image in images:
        whole.update(pixel_hash(image).encode())
    middle = images[len(images) // 2]
    made = thumb_of(middle)
    return Fingerprint(whole.hexdigest(), made, codes_of(made), middle.size)


def fingerprint_of(study: Study) -> Fingerprint:
    """The fingerprint of a decoded image."""
    made = thumb_of(study)
    return Fingerprint(pixel_hash(study), made, codes_of(made), study.size)


def picture_of(ref: ImageRef, side: int) -> NDArray[np.uint8]:
    """An image, grey, at a side; of several the middle one. `UserError` if it cannot be opened."""
    return thumb_of(_middle(ref), side)


def shown_image(ref: ImageRef, side: int) -> Image.Image:
    """An image as it is shown, its longer side as given; of several the middle one.

    Raises:
        UserError: it cannot be opened.
    """
    study = _middle(ref)
    width, height = study.size
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return study.render((0.0, 0.0, float(width), float(height)), size)


def _middle(ref: ImageRef) -> Study:
    study, places = _places(ref)
    place = places[len(places) // 2]
    return decoded(study, ref, place) if len(places) == 1 else study.image(*place)


def thumb_of(study: Study, side: int = SIDE) -> NDArray[np.uint8]:
    """An image, grey, squeezed into a square."""
    width, height = study.size
    shown = study.render((0.0, 0.0, float(width), float(height)), (side, side))
    return np.asarray(shown.convert("L"))


def pixel_hash(study: Study) -> str:
    """The hash of an image's stored values, however its file is called or encoded.

    Equal values have one hash whatever their type, and grey has that of three equal channels. Of a
    slide, which is too large to be read whole, it is that of an overview.
    """
    pixels: NDArray[Any] = study.pixels
    if isinstance(study, SlideImage):
        width, height = study.size
        pixels = np.asarray(study.render((0.0, 0.0, width, height), (_OVERVIEW, _OVERVIEW)))
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        first = pixels[:, :, 0]
        if (first == pixels[:, :, 1]).all() and (first == pixels[:, :, 2]).all():
            pixels = first
    if pixels.dtype.kind in "iu" and pixels.size:
        kinds = np.min_scalar_type(pixels.min()), np.min_scalar_type(pixels.max())
        pixels = pixels.astype(np.result_type(*kinds))
    head = f"{pixels.dtype}{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def codes_of(thumb: NDArray[np.uint8]) -> Codes:
    """The codes of a thumb under each of `WINDOWS`, as `imagehash` makes them."""
    picture = Image.fromarray(thumb)
    sides = np.array(picture.size * 2, np.float32)[[0, 1, 0, 1]]
    whole = np.empty((len(WINDOWS), 64, 64), np.float32)
    small = np.empty((len(WINDOWS), 32, 32), np.float32)
    rows = np.empty((len(WINDOWS), 8, 9), np.int16)
    for number, window in enumerate(WINDOWS):
        left, right, top, bottom = map(float, window * sides)
        box = left, top, right, bottom
        large = picture.resize((64, 64), Image.Resampling.LANCZOS, box)
        whole[number] = np.asarray(large)
        small[number] = np.asarray(large.resize((32, 32), Image.Resampling.LANCZOS))
        rows[number] = np.asarray(large.resize((9, 8), Image.Resampling.LANCZOS))
    bits = (
        _low_frequencies(small, 8),
        (rows[:, :, 1:] > rows[:, :, :-1]).reshape(len(WINDOWS), -1),
        _low_frequencies(whole, 16),
    )
    made: Codes = np.packbits(np.concatenate(bits, axis=1), axis=1).view(np.uint64)
    return made


def _low_frequencies(pictures: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """pHash: which of the lowest frequencies are above their median."""
    from scipy.fft import dctn

    low = dctn(pictures, axes=(1, 2))[:, :count, :count].reshape(len(pictures), -1)
    above: NDArray[np.bool_] = low > np.median(low, axis=1, keepdims=True)
    return above


def _places(ref: ImageRef) -> tuple[ImagingStudy, list[tuple[str, int]]]:
    """The study that a reference opens, and the images of it that stand for what it means."""
    study = open_study(ref)
    try:
        return study, [place_of(study, ref)]
    except UserError:
        if ref.plane is not None or ref.index is not None or ref.frame is not None:
            raise
    planes = study.planes
    plane = next((name for name in planes if planes[name].count > 1), next(iter(planes)))
    if isinstance(study, VolumeStudy) and study.grid.acquired in planes:
        plane = study.grid.acquired
    last = planes[plane].count - 1
    at = sorted({round(n * last / (SAMPLES - 1)) for n in range(SAMPLES)})
    return study, [(plane, index) for index in at]
