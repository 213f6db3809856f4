"""The frames of a clip, found by decoding it once, and each decoded again when it is asked for.

No container is believed: it may guess how many frames it has, when they are shown, and which can be
decoded without the ones before. So the first look decodes all of them, one after the other, and
keeps of each only its time and a checksum. A frame is then decoded from the key frame before it. If
time and checksum are not those of the first look, it is decoded from the start.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.clips.containers import is_whole
from medgym.imaging.limits import refuse_bomb

MOST_FRAMES = 100_000
"""The most frames of a clip: an hour at 25 a second."""

_UPRIGHT = 0


@dataclass(frozen=True)
class FirstLook:
    """What the first look found.

    Attributes:
        times: of each frame, in units of the container; None where one is unknown or they do not
            grow. checks: of their first component. keys: the numbers of key frames.
        size: (width, height). aspect: the height of a pixel divided by its width.
    """

    times: tuple[int, ...] | None
    checks: tuple[int, ...]
    keys: tuple[int, ...]
    size: tuple[int, int]
    aspect: float

    def key_before(self, number: int) -> int:
        """The last key frame that is not behind a frame."""
        return max(key for key in self.keys if key <= number)


class Clip:
    """A container with one stream of pictures. It must not change.

    Args:
        demuxer: what FFmpeg calls the kind of container.

    Attributes:
        size: (width, height). rate: frames in a second, as the container says; None where it does
            not. tick_s: seconds of a unit of its times; None where it does not say.
    """

    def __init__(self, stream: BinaryIO, path: Path, demuxer: str) -> None:
        self.path = path
        self._demuxer = demuxer
        self.stamp = _stamp(stream)
        if not is_whole(stream, demuxer):
            raise UserError(f"{path} is cut off; fix: copy it again")
        with self._opened(stream) as (_, pictures):
            self.size = int(pictures.codec_context.width), int(pictures.codec_context.height)
            self.rate = float(pictures.average_rate) if pictures.average_rate else None
            self.tick_s = float(pictures.time_base) if pictures.time_base else None

    def look(self) -> FirstLook:
        """Decode all frames, each of them dropped before the next.

        Raises:
            UserError: the clip is damaged, does not begin with a key frame, or its frames differ in
                size or kind.
        """
        times: list[int | None] = []
        checks: list[int] = []
        keys: list[int] = []
        kinds: set[Any] = set()
        with self._opened() as (container, pictures):
            for frame in _decoded(container, pictures):
                number = len(checks)
                self._refuse(frame, number, pictures)
                kinds.add((frame.width, frame.height, frame.format.name))
                if len(kinds) > 1:
                    raise UserError(
                        f"{self.path} changes its size or colours at frame {number}; fix: cut it "
                        "there"
                    )
                times.append(frame.pts)
                checks.append(_check(frame))
                if frame.key_frame:
                    keys.append(number)
            ratio = pictures.sample_aspect_ratio
            if not checks:
                raise UserError(f"{self.path} has no frame that can be decoded; fix: replace it")
            self._refuse_early_end(container, times, checks)
        known = [each for each in times if each is not None]
        grows = len(known) == len(times) and all(np.diff(known) > 0)
        ((width, height, _),) = kinds
        aspect = float(1 / ratio) if ratio else 1.0
        return FirstLook(
            tuple(known) if grows else None, tuple(checks), tuple(keys), (width, height), aspect
        )

    @contextmanager
    def frame(self, number: int, index: FirstLook) -> Iterator[tuple[Any, str]]:
        """A decoded frame, and what its codec is called."""
        key = index.key_before(number)
        with self._opened() as (container, pictures):
            codec = str(pictures.codec_context.name)
            found = None
            if index.times is not None and key:
                found = _sought(container, pictures, number, key, index)
        if found is None:
            with self._opened() as (container, pictures):
                found = next(
                    (
                        frame
                        for place, frame in enumerate(_decoded(container, pictures))
                        if place == number
                    ),
                    None,
                )
                if found is None or _check(found) != index.checks[number]:
                    raise UserError(
                        f"{self.path} gives other frames each time it is decoded; fix: encode it "
                        "again"
                    )
                yield found, codec
                return
        yield found, codec

    @contextmanager
    def _opened(self, stream: BinaryIO | None = None) -> Iterator[tuple[Any, Any]]:
        library = _library()
        with refused_by_name(self.path):
            if stream is None:
                with open_regular(self.path, "image") as again:
                    if _stamp(again) != self.stamp:
                        raise UserError(
                            f"{self.path} changed while it was read; fix: open it again"
                        )
                    with self._opened(again) as found:
                        yield found
                return
            stream.seek(0)
            with library.open(stream, format=self._demuxer, metadata_errors="ignore") as container:
                pictures = self._pictures(container)
                pictures.codec_context.thread_count = 1
                pictures.codec_context.options = {"err_detect": "explode+crccheck+bitstream+buffer"}
                yield container, pictures

    def _pictures(self, container: Any) -> Any:
        found = [
            each
            for each in container.streams.video
            if "attached_pic" not in str(each.disposition.name or "").lower()
        ]
        if len(found) != 1:
            raise UserError(
                f"{self.path} holds {len(found)} streams of pictures; fix: save one of them as a "
                "clip"
            )
        if found[0].codec_context is None:
            raise UserError(f"{self.path} is coded in a way that FFmpeg does not decode; fix: "
                            "encode it as H.264")  # fmt: skip
        refuse_bomb(self.path, found[0].codec_context.width, found[0].codec_context.height)
        return found[0]

    def _refuse(self, frame: Any, number: int, pictures: Any) -> None:
        if number >= MOST_FRAMES:
            raise UserError(f"{self.path} has more than {MOST_FRAMES:,} frames; fix: cut it")
        if frame.is_corrupt:
            raise UserError(f"{self.path} is damaged at frame {number}; fix: copy it again")
        if number == 0 and not frame.key_frame:
            raise UserError(
                f"{self.path} does not begin with a key frame, so its frames cannot be decoded; "
                "fix: cut it at a key frame, or encode it again"
            )
        if frame.rotation % 360 != _UPRIGHT:
            raise UserError(
                f"{self.path} says that it is shown turned by {frame.rotation % 360} degrees, and "
                "boxes are in stored pixels; fix: encode it upright"
            )

    def _refuse_early_end(self, container: Any, times: list[int | None], checks: list[int]) -> None:
        """`UserError` where a container without other streams says that it lasts longer."""
        if self._demuxer != "matroska" or len(container.streams) > 1 or not container.duration:
            return
        first, last = times[0], times[-1]
        if first is None or last is None or len(times) < 2:
            return
        base = float(container.streams.video[0].time_base)
        usual = (last - first) * base / (len(times) - 1)
        missing = container.duration / 1e6 - (last * base + usual)
        if missing > max(2 * usual, 0.05):
            raise UserError(
                f"{self.path} is damaged behind frame {len(checks) - 1}; fix: copy it again"
            )


def _decoded(container: Any, pictures: Any) -> Iterator[Any]:
    for packet in container.demux(pictures):
        if packet.is_corrupt:
            raise ValueError
        yield from packet.decode()


def _sought(container: Any, pictures: Any, number: int, key: int, index: FirstLook) -> Any:
    """The frame, decoded from a key frame; None where that does not give it."""
    assert index.times is not None
    library = _library()
    wanted = index.times[number]
    try:
        container.seek(index.times[key], stream=pictures, backward=True)
        for frame in _decoded(container, pictures):
            if frame.pts == wanted:
                return frame if _check(frame) == index.checks[number] else None
            if frame.pts is not None and frame.pts > wanted:
                return None
    except (library.FFmpegError, ValueError):
        return None
    return None


def _check(frame: Any) -> int:
    """A checksum of the first component of a frame, which is its brightness in most of them."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    if len(frame.planes) == 1:
        bits = frame.format.padded_bits_per_pixel
    else:
        bits = 8 * -(-frame.format.components[0].bits // 8)
    used = rows[:, : min(plane.line_size, -(-plane.width * bits // 8))]
    return zlib.crc32(np.ascontiguousarray(used).data)


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise UserError(
            "clips need PyAV, which is not installed; fix: pip install 'medgym[clips]'"
        ) from None
    return av


def _stamp(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def refused_by_name(path: Path) -> Iterator[None]:
    """Turns whatever the library raises into a `UserError`, which does not quote it."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except Exception as error:
        raise UserError(
            f"{path} is not a readable clip ({type(error).__name__}); fix: copy or encode it again"
        ) from error
