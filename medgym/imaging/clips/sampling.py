"""Some frames of a clip, chosen as `qwen-vl-utils` chooses them for Qwen's models.

A model that reads clips was trained on frames at some rate, two a second by default, an even number
of them, evenly spread from the first frame to the last.
"""

import os
from pathlib import Path

import numpy as np

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.clips.study import ClipStudy, is_clip
from medgym.imaging.imaging_study import FRAME
from medgym.imaging.study import ImageRef
from medgym.uris import file_uri

TOGETHER = 2
"""Frames that a model of Qwen takes together; their number is a multiple of it."""

LEAST, MOST = 4, 768
"""Frames of a clip, however short or long it is, where no number is asked for."""


def sampled_frames(
    count: int,
    rate: float,
    *,
    fps: float = 2.0,
    frames: int | None = None,
    most: int = MOST,
) -> list[int]:
    """The numbers of the frames that stand for a clip.

    Args:
        count: how many frames it has.
        rate: how many of them are shown in a second.
        fps: how many are wanted of each second.
        frames: how many are wanted in all, whatever `fps` says.
        most: no more than these, where `fps` says how many.

    Raises:
        UserError: so many cannot be chosen of it.
    """
    if frames is not None:
        wanted = round(frames / TOGETHER) * TOGETHER
    else:
        by_rate = max(count / rate * fps, LEAST)
        wanted = int(min(by_rate, most // TOGETHER * TOGETHER, count) // TOGETHER * TOGETHER)
    if not TOGETHER <= wanted <= count:
        raise UserError(
            f"{wanted} frames of a clip of {count} are no choice; fix: ask for {TOGETHER} to "
            f"{count}"
        )
    step = np.float32(count - 1) / np.float32(wanted - 1)
    places = np.arange(wanted, dtype=np.float32)
    ahead, back = places * step, np.float32(count - 1) - places[::-1] * step
    even = np.where(places < wanted // 2, ahead, back)  # as torch.linspace computes it
    return [int(place) for place in even.round()]


def clip_frames(
    path: str | os.PathLike[str],
    *,
    fps: float = 2.0,
    frames: int | None = None,
    most: int = MOST,
) -> tuple[ImageRef, ...]:
    """The frames that stand for a clip, as the images of a case.

    Args:
        path: of the clip.
        fps, frames, most: as of `sampled_frames`.

    Raises:
        UserError: it is no clip, it does not say how fast it is shown, or so many frames cannot be
            chosen of it.
    """
    path = Path(path)
    with open_regular(path, "clip") as stream:
        if not is_clip(stream.read(512)):
            raise UserError(f"{path} is no clip; fix: name an MP4, MOV, AVI, MKV or WebM file")
        stream.seek(0)
        study = ClipStudy(stream, path)
    uri = file_uri(path)
    if study.frames == 1:
        return (ImageRef(uri=uri),)
    if study.rate is None and frames is None:
        raise UserError(f"{path} does not say how fast it is shown; fix: say how many frames=")
    numbers = sampled_frames(study.frames, study.rate or 1.0, fps=fps, frames=frames, most=most)
    return tuple(ImageRef(uri=uri, plane=FRAME, index=number) for number in numbers)
