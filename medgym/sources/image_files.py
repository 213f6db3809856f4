"""The image files of a data set, which lie in an unpacked folder or in the zip as published."""

import itertools
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from medgym.files import open_regular
from medgym.imaging.series.entries import Archive
from medgym.imaging.study import ImageRef
from medgym.uris import file_uri

SAMPLES = 50
"""How many names are looked for, to find the folder in which the files are."""


class ImageFiles:
    """The files of a folder or of a zip, by the names that the questions have for them.

    Copies differ in how many folders lie around the files (`imgs/a.jpg`, `imgs/imgs/a.jpg`,
    `a.jpg`). Which one it is here is found by the first of the names that is there.

    Args:
        path: the folder or the zip.
        names: of some files in it, as the questions name them.

    Raises:
        UserError: it is neither a folder nor a whole zip.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self.path = path
        self._is_zip = not path.is_dir()
        looked_for = [name for name in itertools.islice(names, SAMPLES) if self.fault(name) is None]
        found = self._zipped(looked_for) if self._is_zip else self._unpacked(looked_for)
        self._inner = found

    @staticmethod
    def fault(name: str) -> str | None:
        """Why a name can be none of a file in the folder; None where it can."""
        if not name.strip():
            return "it names no image"
        if "/" not in name and name != "..":
            return None
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            return f"the image {name!r} lies outside the folder of images"
        return None

    def ref(self, name: str) -> ImageRef:
        """The image of that name, whether it is there or not."""
        inner = self._inner + name
        if self._is_zip:
            return ImageRef(uri=file_uri(self.path), member=inner)
        return ImageRef(uri=file_uri(self.path / inner))

    def read(self, name: str) -> bytes | None:
        """What the file of that name holds; None where there is none.

        Raises:
            UserError: it is there and cannot be read.
        """
        inner = self._inner + name
        if self._is_zip:
            archive = Archive(self.path)
            return archive.content(inner) if inner in archive.names() else None
        if not (self.path / inner).exists():
            return None
        with open_regular(self.path / inner) as stream:
            return stream.read()

    def _unpacked(self, names: list[str]) -> str:
        if any((self.path / name).exists() for name in names):
            return ""
        for folder in sorted(each for each in self.path.iterdir() if each.is_dir()):
            if any((folder / name).exists() for name in names):
                return f"{folder.name}/"
        return ""

    def _zipped(self, names: list[str]) -> str:
        members = Archive(self.path).names()
        for name in names:
            if name in members:
                return ""
            ending = f"/{name}"
            inner = min((each for each in members if each.endswith(ending)), default=None)
            if inner is not None:
                return inner.removesuffix(name)
        return ""
