"""A slide file, its levels, and regions of them. OpenSlide reads it.

Neither its label nor its overview photograph is read: names and barcodes stand there. No property
is read but sizes, the scale and the colour behind the tissue.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.spacing import Spacing, credible_spacing

MOST_TILE = 2**26
"""The most pixels of a tile, which is decoded whole."""

LEAST_MICRONS, MOST_MICRONS = 0.05, 50.0
"""Micrometres per pixel that the finest level can have. What lies outside, such as the 72 dots per
inch that programs write by themselves, is no scale."""

_CACHE = 64 * 2**20
"""Bytes of decoded tiles that all slides keep together."""

_MOST_OPEN = 16

Stamps = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Level:
    """A resolution of a slide.

    Attributes:
        size: (width, height) in its pixels.
        factor: pixels of level 0 along a side of one of its own.
        library_factor: the same as OpenSlide has it, which is off where sizes were rounded.
    """

    size: tuple[int, int]
    factor: float
    library_factor: float


class SlideFile:
    """A slide. It is opened again in each process and when many others were opened since.

    Args:
        path: what OpenSlide is given.
        files: all files of the slide; none of them may change.

    Raises:
        UserError: OpenSlide is not installed, or does not read the file.
    """

    def __init__(self, path: Path, files: tuple[Path, ...]) -> None:
        self.path = path
        self._files = files
        self._stamps = _stamps(files)
        with self._refused_by_name():
            slide = self._opened()
            sizes = [(int(width), int(height)) for width, height in slide.level_dimensions]
            factors = [float(each) for each in slide.level_downsamples]
            self.levels = tuple(
                Level(size, _factor(sizes[0], size, factor), factor)
                for size, factor in zip(sizes, factors, strict=True)
            )
            self.spacing_mm = _spacing(slide.properties)
            self._behind = _colour(slide.properties.get("openslide.background-color"))
            for number in range(len(sizes)):
                tile = (
                    slide.properties.get(f"openslide.level[{number}].tile-{side}") or "0"
                    for side in ("width", "height")
                )
                if np.prod([float(side) for side in tile]) > MOST_TILE:
                    raise UserError(
                        f"{path} has tiles of more than {MOST_TILE:,} pixels; fix: save it with "
                        "smaller tiles"
                    )

    def read(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """A region as (height, width, 3), and where in the level its corner is exactly.

        OpenSlide counts whole pixels of level 0. Where the sizes of a level are rounded, the corner
        is beside (x, y), by half a pixel of level 0 at most.
        """
        about = self.levels[level]
        with self._refused_by_name():
            at = round(x * about.library_factor), round(y * about.library_factor)
            region = self._opened().read_region(at, level, (width, height))
            if region.getchannel("A").getextrema() != (255, 255):
                behind = Image.new("RGB", region.size, self._behind)
                behind.paste(region, mask=region.getchannel("A"))
                region = behind
            corner = at[0] / about.library_factor, at[1] / about.library_factor
            return np.asarray(region.convert("RGB")), corner

    def _opened(self) -> Any:
        if _stamps(self._files) != self._stamps:
            raise UserError(f"{self.path} changed while it was read; fix: open it again")
        library = _library()
        # A forked process would move the place at which its parent reads.
        key = os.getpid(), self.path.absolute(), self._stamps
        with _opening:
            slide = _open.get(key)
            if slide is None:
                slide = library.OpenSlide(self.path)
                if not _caches or _caches[0][0] != os.getpid():
                    _caches[:] = [(os.getpid(), library.OpenSlideCache(_CACHE))]
                slide.set_cache(_caches[0][1])
                _open[key] = slide
            _open.move_to_end(key)
            while len(_open) > _MOST_OPEN:
                _open.popitem(last=False)  # it is closed when no thread reads it any more
            return slide

    def _close(self) -> None:
        """What failed once fails always: OpenSlide has to open the file again."""
        with _opening:
            _open.pop((os.getpid(), self.path.absolute(), self._stamps), None)

    @contextmanager
    def _refused_by_name(self) -> Iterator[None]:
        """Turns whatever the library raises into a `UserError`. Its texts, which may quote the
        header, are not quoted."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._close()
            raise UserError(
                f"{self.path} is not a readable slide ({type(error).__name__}); fix: copy or "
                "export it again"
            ) from error


_open: OrderedDict[Any, Any] = OrderedDict()
_caches: list[tuple[int, Any]] = []
_opening = Lock()


def reads(path: Path) -> bool:
    """Whether OpenSlide says that a file is a slide.

    Raises:
        UserError: OpenSlide is not installed.
    """
    library = _library()
    try:
        return library.OpenSlide.detect_format(path) is not None
    except Exception:  # it looks like a slide, and is damaged
        return True


def _library() -> Any:
    try:
        import openslide
    except ImportError:
        raise UserError(
            "whole slides need OpenSlide, which is not installed; fix: pip install 'medgym[slides]'"
        ) from None
    return openslide


def _stamps(files: tuple[Path, ...]) -> Stamps:
    found = []
    for path in files:
        try:
            about = os.stat(path)
        except OSError:
            continue
        found.append((str(path), about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(found)


def _factor(whole: tuple[int, int], size: tuple[int, int], stated: float) -> float:
    """The whole number by which a level is smaller, where its sizes are those of one, rounded."""
    near = round(stated)
    if all(abs(full / near - side) < 1 for full, side in zip(whole, size, strict=True)):
        return float(near)
    return stated


def _spacing(properties: Any) -> Spacing | None:
    try:
        microns = [float(properties[f"openslide.mpp-{side}"]) for side in "yx"]
    except (KeyError, TypeError, ValueError):
        return None
    if not all(LEAST_MICRONS <= each <= MOST_MICRONS for each in microns):
        return None
    return credible_spacing([each / 1000 for each in microns])


def _colour(text: str | None) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(text or "FFFFFF")
    except ValueError:
        return 255, 255, 255
    return red, green, blue
