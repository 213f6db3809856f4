"""The images that a cell of a table names: files of a folder, members of a zip, data URIs."""

import os
import posixpath
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from medgym.errors import UserError
from medgym.imaging.containers.members import DATA
from medgym.imaging.series.slices import hashed
from medgym.imaging.study import ImageRef
from medgym.sources.own.cell import RowFault, items
from medgym.sources.own.columns import Columns
from medgym.sources.own.reading import Rows
from medgym.uris import SCHEME, file_path, file_uri, split_series

_PLAIN = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[\w./-]+", re.ASCII)
"""A relative path without any character that a URI or the system reads in another way."""


_UID = re.compile(r"\d+(?:\.\d+){3,}")
"""A SeriesInstanceUID. The label of a series begins with its hash, and has one point or none."""

Find = Callable[[str, str], tuple[ImageRef, ...]]
"""Gives the images that a cell of a column names."""


class ImageFolder:
    """Where the images of a table are.

    Args:
        images: a folder or a zip, as a spec names it; None for the folder of the table itself.
        table: the file that names the images. Paths in it are relative to its folder.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, images: str | None, table: Path) -> None:
        self._zip: str | None = None
        self._set_folder(table.absolute().parent)
        if images is None:
            return
        given = Path(images).expanduser()
        if not given.exists():
            beside = table.parent / images
            fix = f"write images={beside}" if beside.exists() else "check the path"
            raise UserError(f"there is no folder {images} with the images of {table}; fix: {fix}")
        self._set_folder(given.absolute())
        if not given.is_dir():
            self._zip = file_uri(given)

    def _set_folder(self, folder: Path) -> None:
        self.folder = Path(os.path.normpath(folder))
        self._before = file_uri(self.folder).removesuffix("/") + "/"

    def refs(self, cell: str, column: str) -> tuple[ImageRef, ...]:
        """The images that a cell names; several stand in a list, or with bars between.

        Raises:
            RowFault: one is an address in the web, or on another machine.
        """
        cell = cell.strip()
        if cell.startswith(DATA):
            return (ImageRef(uri=cell),)
        try:
            return tuple(self._ref(name, column) for name in items(cell) if name.strip())
        except ValueError as error:
            said = str(error) if isinstance(error, RowFault) else "is no list"
            raise RowFault(f"the image {cell[:60]!r} (column {column!r}) {said}") from error

    def _ref(self, name: str, column: str) -> ImageRef:
        if "://" in name and not name.startswith(SCHEME):
            raise RowFault("is an address in the web, and nothing is fetched")
        series = None
        if "#" in name:
            name, said = split_series(name)
            series = said if said is None or not _UID.fullmatch(said) else hashed(said)
        if self._zip is not None:
            return ImageRef(uri=self._zip, member=posixpath.normpath(name), series=series)
        return ImageRef(uri=self.uri(name), series=series)

    def uri(self, name: str) -> str:
        """The URI of a file, by its path as a cell has it."""
        if _PLAIN.fullmatch(name):
            return self._before + name
        try:
            path = file_path(name) if name.startswith(SCHEME) else Path(name)
        except UserError as error:
            raise RowFault(str(error).partition("; fix")[0]) from error
        assert path is not None
        return file_uri(os.path.normpath(self.folder / path.expanduser()))


class TableImages:
    """The images of the rows of a table: in files, or in cells of the table itself.

    Args:
        find: gives the images that a cell of a column names.
        beside: what does so for the rows of one of several files, by its path.
    """

    def __init__(
        self, rows: Rows, columns: Columns, find: Find, beside: Mapping[Path, Find] | None = None
    ) -> None:
        self._rows = rows
        self._names = columns.image
        self._find = find
        self._beside = beside or {}
        held = [images for file in rows.files for images in file.images.values()]
        self._held = {(images.uri, images.column): images for images in held}

    def refs(self, row: int) -> tuple[ImageRef, ...]:
        """Those of a row."""
        file, own = self._rows.file_of(row)
        find = self._beside.get(file.path, self._find)
        found: list[ImageRef] = []
        for name in self._names:
            if name in file.images:
                found += file.images[name].refs(own)
            else:
                found += find(self._rows.text(name, row), name)
        return tuple(found)

    named = refs

    def group(self, ref: ImageRef) -> str:
        """The file of an image; of one in a cell the hash of what it holds."""
        held = self._held.get((ref.uri, (ref.member or "").partition("/")[0]))
        if held is not None:
            return held.digest(ref)
        return ref.uri if ref.member is None else f"{ref.uri}/{ref.member}"

    def modality(self, ref: ImageRef) -> str | None:
        """It is not known: no file is opened."""
        return None


def missing(ref: ImageRef) -> bool:
    """Whether an image is a file that is not there, or a member that its zip does not have."""
    path = file_path(ref.uri)
    if path is None:
        return False
    members = _members(path) if ref.member is not None else None
    return not path.exists() if members is None else ref.member not in members


@lru_cache(maxsize=4)
def _members(path: Path) -> frozenset[str] | None:
    """The names in a zip; None of another file."""
    try:
        with zipfile.ZipFile(path) as file:
            return frozenset(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
