"""What an image file may say of itself: checked against its header, before a pixel is decoded."""

from pathlib import Path

from medgym.errors import UserError
from medgym.memory import machine_memory, readable

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


def refuse_beyond_machine(path: Path, need: int) -> None:
    """`UserError` where opening an image would take more memory than the machine has."""
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
