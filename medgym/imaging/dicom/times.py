"""When the frames of a file are shown: PS3.3 C.7.6.5 (cine) and C.7.6.8 (multi-frame)."""

import math
from collections.abc import Sequence
from itertools import accumulate

from medgym.imaging.dicom.functional_groups import FrameHeader


def seconds_of(header: FrameHeader, frames: int) -> Sequence[float] | None:
    """Seconds of each frame from the first; None where the file does not say, or it is absurd."""
    root = header.root
    steps_ms = header.numbers(root, "FrameTimeVector")
    if len(steps_ms) == frames and all(0 < step < math.inf for step in steps_ms[1:]):
        return [after / 1000 for after in accumulate(steps_ms[1:], initial=0.0)]
    step = header.numbers(root, "FrameTime")
    if step and 0 < step[0] < math.inf:
        return [number * step[0] / 1000 for number in range(frames)]
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = header.numbers(root, keyword)
        if rate and 0 < rate[0] < math.inf:
            return [number / rate[0] for number in range(frames)]
    return None
