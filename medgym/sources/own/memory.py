"""Cases from what a program holds: pictures, arrays, bytes, rows of a `datasets.Dataset`."""

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medgym.cases import CaseList
from medgym.errors import UserError
from medgym.imaging.containers.members import DATA
from medgym.imaging.study import ImageRef
from medgym.sources.own.cases import RowReader, cases_of
from medgym.sources.own.cell import RowFault
from medgym.sources.own.columns import Columns
from medgym.sources.own.table import check_known, described
from medgym.uris import file_uri

if TYPE_CHECKING:
    import datasets

_KINDS = (ImageRef, Mapping, str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
"""Of what `image_ref` makes an image, beside arrays."""

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def image_ref(picture: object) -> ImageRef:
    """A case's image, from what a program holds.

    Args:
        picture: a PIL image; an array of (height, width) or (height, width, 3), of uint8, uint16,
            or, for values such as Hounsfield units, int16, int32 or floats; the bytes of an image
            file; a path; or a dict with `bytes` or `path`, as `datasets` has it undecoded. What has
            no file is held in the case itself.

    Raises:
        UserError: it is something else.
    """
    if isinstance(picture, ImageRef):
        return picture
    if isinstance(picture, Mapping):
        picture = picture.get("bytes") or picture.get("path")
    if isinstance(picture, str) and picture.startswith(DATA):
        return ImageRef(uri=picture)
    if isinstance(picture, str | os.PathLike) and os.fspath(picture):
        return ImageRef(uri=file_uri(picture))
    if isinstance(picture, bytes | bytearray | memoryview) and picture:
        return _held(bytes(picture), "application/octet-stream")
    if isinstance(picture, Image.Image):
        kept = (*_PNG, "I", "F")
        return _encoded(picture if picture.mode in kept else picture.convert("RGB"))
    if hasattr(picture, "__array__"):
        return _encoded(_picture(np.asarray(picture)))
    raise UserError(
        f"cannot make an image of a {type(picture).__name__}; fix: give a PIL image, an array of "
        "(height, width) or (height, width, 3), the bytes of a file, or a path"
    )


def cases_from_rows(
    rows: "Sequence[Mapping[str, Any]] | datasets.Dataset",
    *,
    name: str = "rows",
    split: str = "all",
    **options: str,
) -> CaseList:
    """Cases of rows that a program holds; each is made when it is asked for.

    Args:
        rows: dicts, or a `datasets.Dataset`. Images are what `image_ref` takes, or lists of it.
        name: how the ids of the cases begin.
        split: what their split is called.
        options: as those of the source `table`, where a guess would be wrong: `answer="label"`,
            `gold="index"`, `patient="-"`.

    Raises:
        UserError: an unknown option or column, or no row makes a case.
    """
    check_known("rows", options, ("gold",))
    names = _names(rows)
    rows = _undecoded(rows)
    columns, told = described("the rows", names, options, name, without=("split",))
    held = _Held(rows, columns, name)
    reader = RowReader(held, columns, told, split, held)
    return CaseList(cases_of(reader, range(len(rows)), None))


class _Held:
    """The rows, as texts and as images."""

    def __init__(self, rows: Any, columns: Columns, name: str) -> None:
        self.path = name
        self._rows = self._texts = rows
        self._image = columns.image
        select: Any = getattr(rows, "select_columns", None)
        if select is not None:  # of a `datasets.Dataset`: without its images, which it decodes
            texts = {each for kind, some in columns.items() if kind != "image" for each in some}
            self._texts = select(sorted(texts))
        features = getattr(rows, "features", None) or {}
        self._labels: dict[str, list[str]] = {
            each: feature.names
            for each, feature in features.items()
            if type(feature).__name__ == "ClassLabel"
        }
        self._last: tuple[int, Mapping[str, Any]] = (-1, {})

    def __len__(self) -> int:
        return len(self._rows)

    def text(self, name: str, row: int) -> str:
        """A cell."""
        if self._last[0] != row:
            self._last = row, self._texts[row]
        value = _plain(self._last[1].get(name))
        if isinstance(value, int) and name in self._labels:  # datasets has -1 for no label
            value = self._labels[name][value] if value >= 0 else None
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value, default=_plain_text)

    def number(self, row: int) -> int:
        """The number of a row, from 0."""
        return row

    def place(self, row: int) -> str:
        """Where a row is."""
        return f"row {row} (from 0) of the rows {self.path!r}"

    def are_different(self, name: str) -> bool:
        """It is not known."""
        return False

    def refs(self, row: int) -> tuple[ImageRef, ...]:
        """The images of a row."""
        return tuple(image_ref(each) for each in self._pictures(row))

    def named(self, row: int) -> tuple[ImageRef, ...]:
        """As many images as a row has; none is encoded.

        Raises:
            RowFault: one is of a kind of which no image can be made.
        """
        pictures = list(self._pictures(row))
        named = " or ".join(map(repr, self._image))
        for each in pictures:
            if isinstance(each, _KINDS):
                continue
            if not hasattr(each, "__array__"):
                raise RowFault(
                    f"what is of type {type(each).__name__} is no image (column {named})"
                )
            try:
                _picture(np.asarray(each))
            except UserError as error:
                raise RowFault(f"{str(error).partition('; fix')[0]} (column {named})") from error
        return tuple(ImageRef(uri=DATA) for _ in pictures)

    def _pictures(self, row: int) -> Iterator[object]:
        values = self._rows[row] if self._image else {}
        for name in self._image:
            value = values.get(name)
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, Mapping) and not (each.get("bytes") or each.get("path")):
                    continue
                if not (_is_missing(each) or (isinstance(each, str | bytes) and not each)):
                    yield each

    def group(self, ref: ImageRef) -> str:
        """The file of an image, or the hash of what is held."""
        if not ref.uri.startswith(DATA):
            return ref.uri
        return "image-" + hashlib.sha256(ref.uri.encode()).hexdigest()[:16]

    def modality(self, ref: ImageRef) -> str | None:
        """It is not known."""
        return None


def _is_missing(value: object) -> bool:
    """Whether a value is what programs have for none: None, or pandas' NaN, NaT and NA."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _plain(value: Any) -> Any:
    """A value without the types of numpy, which JSON does not know; None for a missing one."""
    if isinstance(value, np.ndarray | np.generic):
        value = float(str(value)) if isinstance(value, np.floating) else value.tolist()
    return None if _is_missing(value) else value


def _plain_text(value: Any) -> Any:
    """What JSON has for a value inside another that it does not know."""
    return _plain(value) if isinstance(value, np.ndarray | np.generic) else str(value)


def _names(rows: Any) -> Sequence[str]:
    known: Any = getattr(rows, "column_names", None)
    if isinstance(known, list):
        return known
    try:
        first: Any = [rows[number] for number in range(min(len(rows), 100))]
    except (TypeError, KeyError) as error:
        raise _no_rows(rows) from error
    if not all(isinstance(row, Mapping) for row in first):
        raise _no_rows(rows)
    return list(dict.fromkeys(name for row in first for name in row))


def _undecoded(rows: Any) -> Any:
    """Rows of which images stay the files that they are, where these come from `datasets`."""
    for name, feature in (getattr(rows, "features", None) or {}).items():
        if getattr(feature, "decode", False):
            rows = rows.cast_column(name, type(feature)(decode=False))
    return rows


def _no_rows(rows: object) -> UserError:
    return UserError(
        f"cannot make cases of a {type(rows).__name__}; fix: give a list of dicts, or a split of a "
        "datasets.Dataset"
    )


def _picture(array: "np.ndarray[Any, Any]") -> Image.Image:
    colours = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if 0 in array.shape or not (array.ndim == 2 or (colours and array.dtype == np.uint8)):
        raise UserError(
            f"cannot make an image of an array of shape {array.shape} and type {array.dtype}; fix: "
            "give (height, width), or (height, width, 3) of uint8"
        )
    if array.dtype in (np.uint8, np.uint16):
        return Image.fromarray(np.ascontiguousarray(array))
    if array.dtype in (np.int8, np.int16, np.int32):
        return Image.fromarray(np.ascontiguousarray(array, np.int32))
    if array.dtype.kind == "f":
        return Image.fromarray(np.ascontiguousarray(array, np.float32))
    raise UserError(
        f"cannot make an image of an array of {array.dtype}; fix: give uint8, uint16, int16, int32 "
        "or float32"
    )


def _encoded(picture: Image.Image) -> ImageRef:
    kind = "PNG" if picture.mode in _PNG else "TIFF"
    file = io.BytesIO()
    picture.save(file, kind)
    return _held(file.getvalue(), f"image/{kind.lower()}")


def _held(data: bytes, kind: str) -> ImageRef:
    return ImageRef(uri=f"{DATA}{kind};base64,{base64.b64encode(data).decode()}")
