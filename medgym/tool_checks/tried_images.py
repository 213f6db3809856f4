"""The images on which a tool is tried: those of some cases, plain ones of odd sizes and kinds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medgym.cases import open_cases
from medgym.gold_tool import Gold
from medgym.imaging.grey import Window
from medgym.imaging.imaging_study import ImagingStudy, Plane
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.imaging.slabs import Slab
from medgym.imaging.study import Study
from medgym.regions import Region
from medgym.workspace import Workspace

CASES = "phantom,question=kind:train[:3]"
"""The cases that a tool is tried on beside plain images."""

SIZES = ((1, 1), (1, 7), (37, 23), (640, 480), (3, 2000))
"""Widths and heights of the plain images."""

SHARE = 4
"""On the rarer kinds of images a tool is tried with one call for this many on the others."""

LARGE = 8192
"""The side of a large plain image, which is decoded whole. Of its kind are radiographs and
photographs of tissue."""

LARGE_FINDING = Region(label="finding", box_px=(64.0, 128.0, 8000.0, 7000.0))
"""What a tool that needs gold is told of the large image."""

LARGE_SHARE = 16
"""As `SHARE`, for the large image."""


class Room:
    """Makes the same workspace again and again, with its first view looked at more closely.

    Attributes:
        name: what faults call its images. calls: how many of so many calls are tried in it. gold:
            what a tool that needs gold is told.
    """

    def __init__(
        self,
        name: str,
        studies: Sequence[Study | OpenedImage],
        size: int,
        names: tuple[str, ...],
        gold: Gold | None = None,
        share: int = 1,
    ) -> None:
        self.name = name
        self.gold = gold or Gold()
        self._studies, self._size, self._names, self._share = tuple(studies), size, names, share

    def calls(self, asked: int) -> int:
        """How many calls are tried here, where so many are asked for."""
        return -(-asked // self._share)

    def __call__(self) -> Workspace:
        made = Workspace(self._studies, view_size=self._size, names=self._names)
        width, height = made.studies[0].size
        corner = (0.0, 0.0, float((width + 1) // 2), float((height + 1) // 2))
        made.add(made.look(0, corner, enlarge=True, made_by="check_tool"))
        return made


def rooms(cases: str) -> Iterator[Room]:
    """Workspaces with the images of these cases, then with plain ones."""
    for case in open_cases(cases):
        studies = [opened_image(ref) for ref in case.images]
        size = (studies[0].start.view_sizes or (64,))[-1]
        yield Room(case.id, studies, size, (case.id, case.group), Gold.of(case))
    for number, (width, height) in enumerate(SIZES):
        plain = np.random.default_rng(number)
        grey = number % 2
        shape = (height, width) if grey else (height, width, 3)
        study = Study(plain.integers(0, 256, shape).astype(np.uint8), (0.5, 0.25) if grey else None)
        yield Room(f"a plain image of {width} x {height}", [study, study], 48, ("plain",))
    values = np.random.default_rng(len(SIZES)).normal(0, 400, (5, 4, 6)).astype(np.float32)
    start = ImagePlace("coronal", 1, Slab(3), None)
    volume = PlainVolume(values)
    opened = OpenedImage(volume, start, volume.slab(start.plane, start.index, Slab(3)))
    yield Room("a plain volume", [opened], 48, ("volume",))
    deep = np.random.default_rng(len(SIZES) + 1).integers(0, 2**16, (20, 30)).astype(np.uint16)
    window = Window(2.0**15, 2.0**16)
    yield Room("a plain image of 16 bits", [Study(deep, window=window)], 48, ("deep",), share=SHARE)
    name, gold = f"a plain image of {LARGE} x {LARGE}", Gold((LARGE_FINDING,))
    yield Room(name, [_large()], 48, ("large",), gold, LARGE_SHARE)
    slide = PlainSlide()
    place = ImagePlace("level 1")
    large = OpenedImage(slide, place, slide.image(place.plane, 0))
    yield Room("a plain slide of 8192 x 4200", [large], 48, ("slide",), share=SHARE)


def _large() -> Study:
    """A slope with stripes: 64 MiB of grey levels."""
    along = np.arange(LARGE) // 64
    across = along.astype(np.uint8)
    return Study(across[None, :] + across[:, None], (0.1, 0.1))


class PlainSlide(ImagingStudy):
    """A slide of two levels, of which the finer one has too many pixels to be decoded whole."""

    def __init__(self) -> None:
        super().__init__("a plain slide")

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        return {
            "level 0": Plane(1, (8192, 4200), (0.0005, 0.0005), "patient"),
            "level 1": Plane(1, (256, 131), (0.016, 0.016), "patient"),
        }

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
        """See `ImagingStudy.decode`: a slope with stripes."""
        x0, y0, x1, y1 = region
        step = 32 if plane == "level 1" else 1
        across = np.arange(x0, x1, dtype=np.uint32) * step
        down = np.arange(y0, y1, dtype=np.uint32) * step
        pixels = ((across // 64)[None, :] + (down // 64)[:, None]).astype(np.uint8)
        return Study(pixels, self.planes[plane].spacing_mm)


class PlainVolume(ImagingStudy):
    """A volume in memory, as (z, y, x) in Hounsfield units; each voxel 1 mm wide and 2 mm deep."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__("a plain volume")
        self._values = values

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        deep, high, wide = self._values.shape
        return {
            "axial": Plane(deep, (wide, high), (1.0, 1.0), "patient"),
            "coronal": Plane(high, (wide, deep), (2.0, 1.0), "patient"),
        }

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
        """See `ImagingStudy.decode`."""
        x0, y0, x1, y1 = region
        image = self._values[index] if plane == "axial" else self._values[:, index]
        spacing = self.planes[plane].spacing_mm
        return Study(image[y0:y1, x0:x1], spacing, "CT", Window(40.0, 800.0), unit="HU")

    def place_mm(self, plane: str, index: int) -> float | None:
        """See `ImagingStudy.place_mm`."""
        return 2.0 * index if plane == "axial" else float(index)
