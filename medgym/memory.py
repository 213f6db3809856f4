"""How much memory decoded images may take: a quarter of the machine's, or what the user declares.

`MEDGYM_IMAGE_MEMORY=8GiB` in the environment declares another amount. It is a setting of the
machine, not of a run: it changes when episodes begin, and never what they are.
"""

import ctypes
import os
import re
from functools import cache
from pathlib import Path

from medgym.errors import UserError

VARIABLE = "MEDGYM_IMAGE_MEMORY"

SHARE = 4
"""By default decoded images may take one part of this many of the machine's memory."""

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
          "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}  # fmt: skip


@cache
def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _group_limits():
        try:
            found.append(int(limit.read_text("ascii")))
        except (OSError, ValueError):  # no such group, or "max": it has no limit
            continue
    return min(found)


def _group_limits() -> list[Path]:
    """Where the kernel keeps the limits of this process's control group and of those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return []
    files = []
    for number, names, group in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if number == "0" and not names:
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in names.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        here = root / group.lstrip("/")
        # In a container the group's own folder is mounted as the root, so that is looked at too.
        files += [folder / name for folder in (here, *here.parents) if folder.is_relative_to(root)]
    return files


def image_memory() -> int:
    """Bytes that decoded images may take at once, at most the machine's memory.

    Raises:
        UserError: `MEDGYM_IMAGE_MEMORY` is set and is no amount of memory.
    """
    declared = os.environ.get(VARIABLE, "").strip()
    if not declared:
        return machine_memory() // SHARE
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)", declared)
    size = 0
    if match is not None and match[2].upper() in _UNITS:
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < 1:
        raise UserError(
            f"{VARIABLE}={declared!r} is no amount of memory; fix: write 8GiB or 512MiB"
        )
    return min(size, machine_memory())


@cache
def return_freed_blocks() -> None:
    """From now on, have large blocks of memory go back to the machine when they are freed.

    The GNU C library keeps them: each thread's allocator up to 64 MB. With many threads that each
    open a large image now and then, that is many times what is used.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return
    set_option(_MMAP_THRESHOLD, BLOCK)
    set_option(_TRIM_THRESHOLD, 2 * BLOCK)


BLOCK = 4 * 2**20
"""Bytes of a large block."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def readable(size: int) -> str:
    """An amount of memory as people read it: `1.5 GiB`."""
    amount, units = float(size), ("bytes", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if amount < 1024 or unit == units[-1]:
            break
        amount /= 1024
    return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"
