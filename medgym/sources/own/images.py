"""The images that a cell of a table names: files of a folder, members of a zip, data URIs."""

import os
from pathlib import Path

from medgym.errors import UserError
from medgym.imaging.containers.members import DATA
from medgym.imaging.study import ImageRef
from medgym.sources.own.cell import RowFault, items
from medgym.uris import SCHEME, file_path, file_uri


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
        self.folder = table.absolute().parent
        if images is None:
            return
        given = Path(images).expanduser()
        if not given.exists():
            beside = table.parent / images
            fix = f"write images={beside}" if beside.exists() else "check the path"
            raise UserError(f"there is no folder {images} with the images of {table}; fix: {fix}")
        self.folder = given.absolute()
        if not given.is_dir():
            self._zip = file_uri(given)

    def refs(self, cell: str, column: str) -> tuple[ImageRef, ...]:
        """The images that a cell names; several stand in a list, or with bars between.

        Raises:
            RowFault: one is an address in the web, or on another machine.
        """
        cell = cell.strip()
        if cell.startswith(DATA):
            return (ImageRef(uri=cell),)
        try:
            return tuple(self._ref(name, column) for name in items(cell))
        except ValueError as error:
            said = str(error) if isinstance(error, RowFault) else "is no list"
            raise RowFault(f"the image {cell[:60]!r} (column {column!r}) {said}") from error

    def _ref(self, name: str, column: str) -> ImageRef:
        if "://" in name and not name.startswith(SCHEME):
            raise RowFault("is an address in the web, and nothing is fetched")
        if self._zip is not None:
            return ImageRef(uri=self._zip, member=name)
        return ImageRef(uri=self.uri(name))

    def uri(self, name: str) -> str:
        """The URI of a file, by its path as a cell has it."""
        try:
            path = file_path(name) if name.startswith(SCHEME) else Path(name)
        except UserError as error:
            raise RowFault(str(error).partition("; fix")[0]) from error
        assert path is not None
        return file_uri(os.path.normpath(self.folder / path.expanduser()))


def missing(ref: ImageRef) -> bool:
    """Whether an image is a file that is not there."""
    path = file_path(ref.uri)
    return path is not None and not path.exists()
