"""What lies in a run's folder, by kind. A training holds runs of its own, such as its opinions."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from medgym.storage.layout import SET_ASIDE
from medgym.storage.manifest import MANIFEST

_IMAGES = "images"
_PASSED = (SET_ASIDE, "view", "tensorboard")
"""How folders begin that are not checked: what was set aside, and pages and curves that are made of
the rest."""


@dataclass
class Contents:
    """The files of a run's folder.

    Attributes:
        homes: folders with a manifest, the run's own first.
        parts: of trajectories, in order. others: all further files but images.
    """

    folder: Path
    homes: list[Path] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def home(self, path: Path) -> Path:
        """The run to which a file belongs, and whose images it shows."""
        return next((each for each in path.parents if each in self.homes), self.folder)

    def images(self, home: Path) -> dict[str, Path]:
        """The images of a run by their hash, as their names say it."""
        found = (home / _IMAGES).glob("??/*.png")
        return {path.stem: path for path in sorted(found) if path.is_file()}


def image_file(home: Path, sha256: str) -> Path:
    """Where a run keeps the image of a hash."""
    return home / _IMAGES / sha256[:2] / f"{sha256}.png"


def contents(folder: Path) -> Contents:
    """All files of a run's folder. Links are not followed."""
    found = Contents(folder, [folder])
    for here, folders, names in os.walk(folder):
        place = Path(here)
        if MANIFEST in names and place != folder:
            found.homes.append(place)
        # Elsewhere in a run a role or a benchmark may have such a name.
        passed = (_IMAGES, *_PASSED) if place in found.homes else ()
        folders[:] = sorted(name for name in folders if not name.startswith((".", *passed)))
        for name in sorted(names):
            if name.startswith("part-") and name.endswith(".parquet"):
                found.parts.append(place / name)
            elif not name.startswith(".") and (place / name).is_file():
                found.others.append(place / name)
    return found
