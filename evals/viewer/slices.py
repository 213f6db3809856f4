"""The slices of the page's volumes: for each plane one picture of many slices, like tiles.

The page shows one tile at a time, so it needs no server. How many slices are kept is bounded: of a
plane, of what has to be read for them, and of the page. Those that were looked at and those with
gold come first; the others lie evenly between the ends.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from PIL import Image

from medgym.cases import Case
from medgym.commands.slices import spread
from medgym.errors import ToolError, UserError
from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.imaging.reach import WHOLE
from medgym.imaging.study import acquired_plane
from medgym.imaging.volumes.study import VolumeStudy
from medgym.metrics.regions import placed
from medgym.progress import Advance
from medgym.storage.atomic import remove

Looked = dict[tuple[int, str], set[int]]
"""The indices that were looked at, by image and plane."""

SIDE = 192
"""Pixels of a slice's longer side."""

MOST = 64
"""Slices of a plane."""

ON_THE_PAGE = 2048
"""Slices of the page."""

VOXELS = 2**29
"""Voxels that are read for a plane. An image of a plane in which a volume was not acquired may take
reading all of it."""


@dataclass(frozen=True)
class _Stack:
    """The slices of a plane that are kept."""

    case: str
    image: int
    opened: OpenedImage
    plane: str
    indices: list[int]

    @property
    def name(self) -> str:
        key = "\0".join((self.case, str(self.image), self.plane))
        return blake2b(key.encode("utf-8", "replace"), digest_size=10).hexdigest()


def write_slices(
    volumes: Mapping[str, tuple[Case, Looked]],
    folder: Path,
    write: Callable[[Path, bytes], None],
    advance: Advance,
) -> dict[str, Any]:
    """Write the slices of cases, and remove those of an earlier page.

    Args:
        volumes: cases, and what was looked at of each. write: writes a file. advance: called for
            each case.

    Returns: by case, image and plane: the file, its columns and rows, the size of a tile, and the
        index of the slice in each of them.
    """
    written: dict[str, Any] = {}
    names = set()
    left = ON_THE_PAGE
    for case_id, (case, looked) in volumes.items():
        for stack in _stacks(case, looked):
            if len(stack.indices) > left:
                continue
            with suppress(UserError, ToolError):  # it has gone; the page says that there is none
                tiles, about = _tiles(stack)
                write(folder / f"{stack.name}.png", _png(tiles))
                left -= len(stack.indices)
                names.add(f"{stack.name}.png")
                planes = written.setdefault(case_id, {}).setdefault(stack.image, {})
                planes[stack.plane] = {"file": f"slices/{stack.name}.png", **about}
        advance()
    for old in folder.glob("*.png"):
        if old.name not in names:
            remove(old)
    return written


def _stacks(case: Case, looked: Looked) -> Iterator[_Stack]:
    """The planes that were looked at, those with gold, and else the first one of a study."""
    gold: Looked = {}
    for region in placed(case):
        if region.plane is not None:
            gold.setdefault((region.image, region.plane), set()).add(region.middle)
    for image, ref in enumerate(case.images):
        with suppress(UserError):
            opened = opened_image(ref)
            named = {plane for number, plane in (*gold, *looked) if number == image}
            planes = [name for name in opened.planes if name in named]
            for plane in planes or [acquired_plane(opened.study, opened.planes)]:
                wanted = gold.get((image, plane), set()) | looked.get((image, plane), set())
                if indices := _indices(opened, plane, wanted):
                    yield _Stack(case.id, image, opened, plane, indices)


def _indices(opened: OpenedImage, plane: str, wanted: set[int]) -> list[int]:
    """Which slices of a plane are kept; none where there is nothing to scroll through."""
    count, (width, height) = opened.planes[plane].count, opened.planes[plane].size
    if not opened.has_many or count == 1 or width * height > WHOLE:
        return []
    read = width * height * (1 if _is_read_alone(opened.study, plane) else count)
    return spread(count, min(MOST, max(1, VOXELS // read)), wanted)


def _is_read_alone(study: ImagingStudy, plane: str) -> bool:
    """Whether an image of a plane takes reading no more than itself."""
    if not isinstance(study, VolumeStudy):
        return True
    return plane == study.grid.acquired and study.path.suffix != ".gz"


def _tiles(stack: _Stack) -> tuple[Image.Image, dict[str, Any]]:
    opened, plane = stack.opened, stack.plane
    width, height = opened.planes[plane].size
    whole = (0.0, 0.0, float(width), float(height))
    shape = opened.true_size(ImagePlace(plane, stack.indices[0]), whole)
    factor = min(1.0, SIDE / max(shape))
    across, down = (max(1, round(side * factor)) for side in shape)
    columns = ceil(sqrt(len(stack.indices)))
    rows = ceil(len(stack.indices) / columns)
    mode = "L" if opened.start.pixels.ndim == 2 else "RGB"
    tiles = Image.new(mode, (columns * across, rows * down))
    for number, index in enumerate(stack.indices):
        row, column = divmod(number, columns)
        shown = opened.render(ImagePlace(plane, index), whole, (across, down))
        tiles.paste(shown.convert(mode), (column * across, row * down))
    about = {"columns": columns, "rows": rows, "tile": (across, down), "indices": stack.indices}
    return tiles, about


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
