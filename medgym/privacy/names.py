"""Names of files in errors: a user reads them, records do not keep them.

A folder may be called after a patient, and a file after what its image shows. So where a run notes
why a case failed, an image has its number in the case.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.uris import SCHEME, file_path

MOST_FILES = 100_000
"""Files of a folder whose names are looked for."""


def without_names(text: str, images: Sequence[ImageRef]) -> str:
    """An error's text without the names of the files and folders that the images lie in.

    A file is called by the number of its image, a file of a series `a file of image 0`.
    """
    for number, ref in enumerate(images):
        named = f"image {number}"
        start = ref.uri.find(SCHEME)  # a source may name a file within a URI of its own
        try:
            path = file_path(ref.uri[start:]) if start >= 0 else None
        except UserError:  # on another machine
            path = None
        if path is None:
            text = text.replace(repr(ref.uri), named)
            continue
        plain = re.escape(str(path))
        # The members of a zip, and what a DICOMDIR names.
        text = re.sub(
            rf"""(?:'[^'\n]*'|"[^"\n]*") of {plain}(?![\w/])""", f"a file of {named}", text
        )
        for inner in sorted(_files(path), key=len, reverse=True) if str(path) + "/" in text else ():
            text = text.replace(inner, f"a file of {named}")
        # What is left is of a file that is gone: its name ends nobody knows where.
        text = re.sub(rf"{plain}/[^\n]*?(?=; fix:|\n|$)", f"a file of {named}", text)
        text = re.sub(plain, named, text)
        text = text.replace(repr(ref.uri), named).replace(ref.uri, named)
    return text


def _files(folder: Path) -> Iterator[str]:
    count = 0
    for place, folders, files in os.walk(folder):
        for name in (*files, *folders):
            count += 1
            if count > MOST_FILES:
                return
            yield os.path.join(place, name)
