"""A clip as a study: one plane of its frames, none of which is kept."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from medgym.imaging.clips.colours import pixels_of
from medgym.imaging.clips.containers import demuxer_of
from medgym.imaging.clips.frames import Clip, FirstLook, refused_by_name
from medgym.imaging.imaging_study import FRAME, IMAGE, ImagingStudy, Plane, Region, part_of
from medgym.imaging.limits import make_room
from medgym.imaging.rendering import Study

_PER_PIXEL = 80
"""Bytes: what a decoder keeps of the frames before, and our own copies."""

_MOST_KEPT = 1024
_kept: OrderedDict[Any, FirstLook] = OrderedDict()
_keeping = Lock()
"""What the first look at each of the last clips found, so that no case decodes all of it again. It
holds as long as the file has not changed."""


def is_clip(head: bytes) -> bool:
    """Whether a file begins as a clip does."""
    return demuxer_of(head) is not None and head[128:132] != b"DICM"


class ClipStudy(ImagingStudy):
    """The frames of a clip. One of a single frame is an image.

    Args:
        stream: the file. It is opened again for each frame, and must not have changed.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        head = stream.read(64)
        self._clip = Clip(stream, path, demuxer_of(head) or "mov")

    @cached_property
    def _index(self) -> FirstLook:
        key = self._path.absolute(), self._clip.stamp
        with _keeping:
            known = _kept.get(key)
        if known is None:
            make_room(self._path, self.need(0))
            known = self._clip.look()
        with _keeping:
            _kept[key] = known
            _kept.move_to_end(key)
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        return known

    @property
    def frames(self) -> int:
        """How many frames it has: those that can be decoded, whatever the container says."""
        return len(self._index.checks)

    @property
    def rate(self) -> float | None:
        """How many frames are shown in a second on average; None where it does not say."""
        return self._clip.rate

    def seconds(self, plane: str) -> Sequence[float] | None:
        """See `ImagingStudy.seconds`: as the frames are stamped, else by the rate."""
        self._check(plane, 0)
        times, tick = self._index.times, self._clip.tick_s
        if times is not None and tick is not None:
            return [(time - times[0]) * tick for time in times]
        return None if not self.rate else [number / self.rate for number in range(self.frames)]

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        return {IMAGE if self.frames == 1 else FRAME: Plane(self.frames, self._index.size)}

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`. The whole frame is decoded."""
        self._check(plane, index)
        return part_of(self.frame(index), region)

    def frame(self, index: int) -> Study:
        """A whole frame."""
        make_room(self._path, self.need(index))
        with refused_by_name(self._path), self._clip.frame(index, self._index) as (frame, codec):
            pixels, window = pixels_of(frame, codec, self._path)
            return Study(pixels, window=window, pixel_aspect=self._index.aspect)

    def need(self, index: int) -> int:
        """Bytes of memory that decoding a frame takes."""
        width, height = self._clip.size
        return _PER_PIXEL * width * height
