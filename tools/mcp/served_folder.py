"""The folder whose images a server offers: what is in it by name, and nothing that is not.

A client is not trusted. It names images by their paths in the folder. A path that leads out of it
(absolute, `..`, through a symbolic link), and whatever is no regular file, is refused. Of a folder
of DICOM files, the reader itself refuses links, pipes and devices.
"""

import os
import stat
from pathlib import Path, PurePosixPath

from medgym.errors import ToolError, UserError

MOST_LISTED = 200
"""Names in one listing. More would fill a client's context."""

MOST_WALKED = 20_000
"""Entries that one listing looks at."""

_OTHERS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".html", ".pdf", ".xlsx",
           ".db", ".ini", ".py", ".log", ".toml", ".yaml", ".yml")  # fmt: skip
"""What the names of files end in that are no images."""

_SERIES = (".dcm", ".dicom")


class ServedFolder:
    """A folder of images.

    Args:
        folder: where it is. It may itself be a link; nothing in it is followed.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.root = folder.expanduser().resolve(strict=True)
            os.scandir(self.root).close()
        except NotADirectoryError as error:
            raise UserError(f"{folder} is no folder; fix: name the folder of the images") from error
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "no path"
            raise UserError(f"cannot read the folder {folder} ({said}); fix: check it") from error

    def path(self, name: str) -> Path:
        """The file, or the folder of DICOM files, of a name that a client gave.

        Raises:
            ToolError: it leads out of the folder, it does not exist, or it is no regular file.
        """
        shown = name[:100]
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or "\x00" in name or ".." in parts:
            raise ToolError(
                f"{shown!r} is no path in the folder; expected one that list_images names, such as "
                "scans/1.png"
            )
        path = self.root
        for part in parts:
            path = path / part
            try:
                mode = os.lstat(path).st_mode
            except (OSError, ValueError):
                raise ToolError(
                    f"there is no image {shown!r}; expected a path that list_images names"
                ) from None
            if part.startswith(".") or stat.S_ISLNK(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "hidden"
                raise ToolError(f"{shown!r} is {kind}, which is not offered; expected another path")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ToolError(f"{shown!r} is no regular file; expected another path")
        return path

    def listed(self, under: str = "") -> tuple[list[str], bool]:
        """The names of what may be images, and whether there are more.

        A folder of DICOM files is listed as one image, `NAME/`, which may be a series. Its files
        are listed where it is `under`.

        Args:
            under: only what is in this folder in the folder.

        Raises:
            ToolError: there is no such folder.
        """
        start = self.path(under) if under else self.root
        if not start.is_dir():
            raise ToolError(f"{under[:100]!r} is no folder; expected the name of one, or none")
        found: list[str] = []
        walked = 0
        for place, folders, files in os.walk(start):
            folders[:] = sorted(
                each for each in folders if _is_plain(each) and not _is_link(place, each)
            )
            walked += len(folders) + len(files)
            here = Path(place).relative_to(self.root)
            files = [each for each in sorted(files) if _is_offered(place, each)]
            if place != str(start) and any(each.lower().endswith(_SERIES) for each in files):
                found.append(f"{here.as_posix()}/")
                folders.clear()
            else:
                found += ((here / each).as_posix() for each in files)
            if len(found) > MOST_LISTED or walked > MOST_WALKED:
                return found[:MOST_LISTED], True
        return found, False

    def without_paths(self, text: str) -> str:
        """A text for a client: the folder's own path, which is none of its business, left out."""
        return text.replace(f"{self.root.as_uri()}/", "").replace(f"{self.root}/", "")


def _is_link(place: str, name: str) -> bool:
    return os.path.islink(os.path.join(place, name))


def _is_plain(name: str) -> bool:
    """Whether a name is not hidden, and can be written in a line."""
    return not name.startswith(".") and name.isprintable()


def _is_offered(place: str, name: str) -> bool:
    if not _is_plain(name) or name.lower().endswith(_OTHERS):
        return False
    try:
        return stat.S_ISREG(os.lstat(os.path.join(place, name)).st_mode)
    except OSError:
        return False
