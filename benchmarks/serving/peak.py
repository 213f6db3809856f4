"""The memory of a side's own process. The sides are scripts, so this imports nothing of medgym."""

from pathlib import Path


def peak() -> float:
    """Megabytes that this process took at most."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
