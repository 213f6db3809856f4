"""Relative paths of images in a file of cases: they count from the folder of that file.

So a folder with a file of cases and its images may be moved. A case in memory has no file: a
relative path in it counts from the working folder, and is written as an absolute one.
"""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from medgym.imaging.study import ImageRef
from medgym.uris import SCHEME, file_uri

Holder = TypeVar("Holder", bound=BaseModel)
"""A case: what has `images`."""


def with_absolute_paths(case: Holder, folder: str | os.PathLike[str] = ".") -> Holder:
    """A case in which each relative `file:PATH` counts from a folder."""
    images: tuple[ImageRef, ...] = vars(case)["images"]
    if not any(_is_relative(ref.uri) for ref in images):
        return case
    found = tuple(
        ref.model_copy(update={"uri": _within(folder, ref.uri)}) if _is_relative(ref.uri) else ref
        for ref in images
    )
    return case.model_copy(update={"images": found})


def _is_relative(uri: str) -> bool:
    return uri.startswith(SCHEME) and not uri.startswith(f"{SCHEME}/")


def _within(folder: str | os.PathLike[str], uri: str) -> str:
    return file_uri(os.path.normpath(Path(folder).absolute() / uri.removeprefix(SCHEME)))
