"""What an image file may say of itself: checked against its header, before a pixel is decoded."""

from pathlib import Path

from medgym.errors import UserError
from medgym.memory import machine_memory, readable, return_freed_blocks

MAX_PIXELS = 178_956_970
"""The most pixels of one image, about 13,000 x 13,000. A file with more is refused before it is
decoded; Pillow itself refuses it too."""


def refuse_bomb(path: Path, width: int, height: int) -> None:
    """`UserError` where an image has more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise UserError(bomb(path))


def bomb(path: Path) -> str:
    """What is said of an image of more than `MAX_PIXELS`."""
    return f"{path} has more than {MAX_PIXELS:,} pixels; fix: cut or shrink it first"


LARGE = 8 * 2**20
"""Bytes that opening a large image takes, or more."""


def make_room(path: Path, need: int) -> None:
    """Prepare for opening an image that takes so many bytes of memory meanwhile.

    Raises:
        UserError: the machine has less memory than that.
    """
    if need > LARGE:
        return_freed_blocks()
    if need > machine_memory():
        raise UserError(
            f"{path} takes {readable(need)} of memory to open, and this machine has "
            f"{readable(machine_memory())}; fix: cut or shrink it first"
        )


def chosen_frame(path: Path, frame: int | None, frames: int) -> int:
    """The frame that is meant, from 0; `UserError` where the file has no such frame."""
    if frames < 1:
        raise UserError(f"{path} says that it holds {frames} frames; fix: correct NumberOfFrames")
    if frame is None and frames == 1:
        return 0
    if frame is None or not 0 <= frame < frames:
        raise UserError(f"{path} holds {frames} frame(s); fix: name one of 0..{frames - 1}")
    return frame
