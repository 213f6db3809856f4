"""The images of a run: all that its episodes show are there, with the pixels of their names."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from medgym.errors import UserError
from medgym.storage.trajectories import ImageStore

from .report import Damage, RunRow, first
from .trajectories import Stored
from .walk import Contents, image_file


def check_images(
    found: Contents, stored: Stored, advance: Callable[[], object]
) -> tuple[RunRow, list[Damage]]:
    """Read every image of a run's folder."""
    damages: list[Damage] = []
    count = unseen = 0
    for home in found.homes:
        there = found.images(home)
        shown = stored.shown.get(home, {})
        for sha256 in sorted(shown.keys() - there.keys()):
            damages.append(Damage(image_file(home, sha256), "is missing", missing=True))
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding runs outside Python's lock
            for path, said in zip(
                there.values(), pool.map(partial(_fault, home), there), strict=True
            ):
                if said:
                    damages.append(Damage(path, said))
                advance()
        count += len(there)
        unseen += len(there.keys() - shown.keys())
    if damages:
        said = first(found.folder, damages)
        return RunRow("images", "fail", f"{said}; {count:,} are there"), damages
    # A run that was killed may leave images of episodes that it did not store.
    more = f"; {unseen:,} of no stored episode" if unseen else ""
    return RunRow("images", "pass", f"{count:,}, each with the pixels of its name{more}"), []


def _fault(home: Path, name: str) -> str:
    """What is wrong with an image; an empty text where nothing is."""
    try:
        ImageStore(home / "images").get(name)
    except UserError as error:
        return str(error).removeprefix(f"{image_file(home, name)} ").partition("; fix: ")[0]
    return ""


def rows_of(home: Path, stored: Stored, lost: set[str]) -> list[Damage]:
    """The rows of parts whose episodes show an image that is lost."""
    rows: dict[Path, set[int]] = {}
    for sha256, places in stored.shown.get(home, {}).items():
        if sha256 in lost:
            for path, number in places:
                rows.setdefault(path, set()).add(number)
    return [
        Damage(path, "shows images that are lost", rows=tuple(sorted(numbers)))
        for path, numbers in rows.items()
    ]
