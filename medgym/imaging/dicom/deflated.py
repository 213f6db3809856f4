"""A deflated DICOM file, inflated as far as its header, and no further than that says."""

import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from medgym.errors import UserError
from medgym.imaging.limits import make_room
from medgym.memory import VARIABLE, image_memory, readable

HEADER = 16 * 2**20
"""Bytes to which a deflated file's header may inflate, and what may follow its pixels."""


class Deflated:
    """The header of a deflated file.

    Args:
        stream: stands where the deflated data begin.
        meta: the file's meta information. is_pixels: whether a tag is that of pixels.

    Attributes:
        header: all that stands before the pixels.
        beginning: the start of the inflated file; it stands at the pixels.

    Raises:
        UserError: the header is cut off, or inflates to more than `HEADER`.
    """

    def __init__(self, stream: BinaryIO, path: Path, size: int, meta: Any, is_pixels: Any) -> None:
        from pydicom.filereader import read_dataset

        make_room(path, 2 * size)
        self._path, self._size, self._start = path, size, stream.tell()
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.beginning = io.BytesIO(inflater.decompress(stream.read(), HEADER))
        self.header = read_dataset(
            self.beginning, is_implicit_VR=False, is_little_endian=True, stop_when=is_pixels
        )
        self.header.file_meta = meta
        self._pixels = at = self.beginning.tell()
        if not self.beginning.read(1):
            if inflater.unconsumed_tail:
                raise UserError(
                    f"the header of {path} inflates to more than {readable(HEADER)}; "
                    "fix: replace it"
                )
            if not inflater.eof:
                raise UserError(f"{path} is cut off; fix: copy it again")
        self.beginning.seek(at)

    def whole(self, stream: BinaryIO, total: int) -> bytes:
        """The whole data set.

        Args:
            total: the bytes of pixels that the header says.

        Raises:
            UserError: it inflates to more than that, or is cut off.
        """
        if self._size + 2 * total > image_memory():
            raise UserError(
                f"{self._path} inflates to {readable(total)}, beyond the "
                f"{readable(image_memory())} for images; fix: store it without deflating, or "
                f"raise {VARIABLE}"
            )
        stream.seek(self._start)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(stream.read(), self._pixels + total + HEADER)
        if inflater.unconsumed_tail:
            raise UserError(
                f"{self._path} inflates to more than its header says "
                f"({readable(total)} of pixels); fix: replace it"
            )
        if not inflater.eof:
            raise UserError(f"{self._path} is cut off within its pixels; fix: copy it again")
        return plain
