"""What is said where a GPU has no memory left: what was asked for, what there is, and a fix.

PyTorch's own error is a paragraph without either. Who meets it knows what can be made smaller.
"""

import re

from medgym.errors import RunError

ELSEWHERE = "end what else uses the GPU (nvidia-smi lists it)"
"""The fix that always may help."""

_ASKED = re.compile(r"Tried to allocate ([\d.]+ \w+)")
_FREE = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_ALLOWED = re.compile(r"([\d.]+ \w+) allowed")
_SIGNS = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class GpuMemoryError(RunError):
    """A GPU has no memory left. Exit status 1."""


def gpu_memory_error(error: BaseException, fix: str) -> GpuMemoryError | None:
    """What is said of an error, with a fix; None where it is not that a GPU has no memory left.

    What the error was raised from counts as well.
    """
    if isinstance(error, GpuMemoryError):
        return GpuMemoryError(f"{str(error).partition('; fix: ')[0]}; fix: {fix}")
    text, kind = str(error), type(error)
    is_torchs = kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("torch")
    if not is_torchs and not any(sign in text for sign in _SIGNS):
        return None if error.__cause__ is None else gpu_memory_error(error.__cause__, fix)
    said = "the GPU has no memory left"
    asked, free, allowed = (each.search(text) for each in (_ASKED, _FREE, _ALLOWED))
    if asked is not None:
        said += f": {asked[1]} more were asked for"
        if free is not None:
            said += f", and {free[2]} of {free[1]} are free"
        if allowed is not None:
            said += f" ({allowed[1]} allowed)"
    return GpuMemoryError(f"{said}; fix: {fix}")
