"""`bench studies`: the first view of a large study, and scrolling through it.

The study is a CT of 2,000 slices of 512 x 512 pixels in as many files. A slice is asked for by its
place among the others, which only the headers of all of them tell. The rival is told which file it
is, and reads that one with pydicom; a second rival has to find it, as medgym has. For NIfTI it is
nibabel, for a slide OpenSlide. Each figure is taken in a process of its own, which has read another
study before: what is imported, and what is prepared once, counts on no side. The files are in the
system's cache.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from medgym.errors import RunError, UserError
from medgym.imaging.study import open_study
from medgym.progress import progress

from ..comparison import Comparison
from .files import write_nifti, write_series, write_slide
from .resident import CLEAR, MEGABYTE, mark, resident

SLICES, SIDE = 2000, 512
VOLUME, VOLUME_SIDE = 200, 256
SLIDE = 8192
VIEW = 448
SCROLLED = 40
"""Slices that are shown one after the other."""

ONE = "pydicom: that one file, dcmread and pixel_array"
FOUND = "pydicom: the headers of all files, sorted; then that one"
LOADED = "nibabel: load, and dataobj[..., k]"
THUMBNAIL = "OpenSlide: get_thumbnail"
READ = "OpenSlide: read_region, convert"


Side = tuple[str, Path]
"""What is measured, by its name in `WORK`, and the file or folder."""


def studies(
    slices: int = SLICES,
    side: int = SIDE,
    volume: tuple[int, int] = (VOLUME, VOLUME_SIDE),
    repetitions: int = 3,
    slide: int = SLIDE,
    parts: Sequence[str] = ("series", "nii", "nii.gz", "slide"),
) -> list[Comparison]:
    """Measure a series of `slices` of `side` x `side`, a NIfTI volume of (slices, side), and a
    slide."""
    if not CLEAR.exists():
        raise UserError("bench studies reads /proc, as Linux has it; fix: run it there")
    with TemporaryDirectory() as text:
        folder = Path(text)
        planned: list[tuple[str, str, str, Side, Side]] = []
        for part in parts:
            if part == "series":
                planned += _series(folder, slices, side)
            elif part == "slide":
                planned += _slide(folder, slide)
            else:
                planned += _volume(folder, part, *volume)
        figures = _in_turns([each for *_, ours, theirs in planned for each in (ours, theirs)],
                            repetitions)  # fmt: skip
    return [
        Comparison(f"studies.{name}", figures[ours, unit], unit, rival, figures[theirs, unit])
        for name, unit, rival, ours, theirs in planned
    ]


_TIME, _SIZE = "ms of CPU", "MB"
_RATE, _REGIONS = "slices/s of CPU", "regions/s of CPU"


def _series(folder: Path, slices: int, side: int) -> list[tuple[str, str, str, Side, Side]]:
    whole, name = folder / "series", f"series_{slices}"
    files = write_series(whole, slices, side)
    write_series(folder / "before", 3, 32)
    first, one = ("first", whole), ("pydicom", files[slices // 2])
    return [
        (f"{name}.first", _TIME, ONE, first, one),
        (f"{name}.found", _TIME, FOUND, first, ("headers", whole)),
        (f"{name}.again", _TIME, ONE, ("again", whole), one),
        (f"{name}.memory", _SIZE, ONE, first, one),
        (f"{name}.scroll", _RATE, ONE, ("scroll", whole), ("files", whole)),
    ]


def _volume(
    folder: Path, end: str, slices: int, side: int
) -> list[tuple[str, str, str, Side, Side]]:
    path = folder / f"a.{end}"
    write_nifti(path, slices, side)
    write_nifti(folder / f"before.{end}", 4, 16)
    return [
        (f"{end}.first", _TIME, LOADED, ("first", path), ("nibabel", path)),
        (f"{end}.scroll", _RATE, LOADED, ("scroll", path), ("nibabel-scroll", path)),
    ]


def _slide(folder: Path, side: int) -> list[tuple[str, str, str, Side, Side]]:
    path = folder / "slide.tif"
    write_slide(path, side)
    write_slide(folder / "before.tif", 1024)
    return [
        ("slide.first", _TIME, THUMBNAIL, ("overview", path), ("thumbnail", path)),
        ("slide.memory", _SIZE, THUMBNAIL, ("overview", path), ("thumbnail", path)),
        ("slide.regions", _REGIONS, READ, ("regions", path), ("read-regions", path)),
    ]


def _in_turns(sides: Sequence[Side], repetitions: int) -> dict[tuple[Side, str], float]:
    """The median of each side by unit; they take turns, so that other work falls on all alike."""
    each = list(dict.fromkeys(sides))
    taken: defaultdict[Side, list[tuple[float, int, int]]] = defaultdict(list)
    with progress("studies", repetitions * len(each)) as advance:
        for _ in range(repetitions):
            for one in each:
                taken[one].append(_measured(*one))
                advance()
    found = {}
    for one, figures in taken.items():
        found[one, _TIME] = median(1000 * seconds / times for seconds, times, _ in figures)
        for rate in (_RATE, _REGIONS):
            found[one, rate] = median(times / seconds for seconds, times, _ in figures)
        found[one, _SIZE] = median(grown / MEGABYTE for *_, grown in figures)
    return found


def _measured(work: str, path: Path) -> tuple[float, int, int]:
    """The seconds of a processor, the images made and the bytes grown by a process of its own."""
    words = [sys.executable, "-m", __name__, work, str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"the process that was measured failed ({last}); fix: run it by itself")
    seconds, times, grown = json.loads(done.stdout)
    return seconds, times, grown


def _first(path: Path) -> int:
    study = open_study(path)
    study.show("axial", study.planes["axial"].count // 2)
    return 1


def _scroll(path: Path) -> int:
    study = open_study(path)
    count = min(SCROLLED, study.planes["axial"].count)
    for index in range(count):
        study.show("axial", index)
    return count


def _pydicom(path: Path) -> int:
    import pydicom

    assert pydicom.dcmread(path).pixel_array.any()
    return 1


def _headers(path: Path) -> int:
    import pydicom

    tags = ["ImagePositionPatient", "ImageOrientationPatient", "SeriesInstanceUID"]
    places = []
    for each in path.iterdir():
        read = pydicom.dcmread(each, stop_before_pixels=True, specific_tags=tags)
        places.append((float(read.ImagePositionPatient[2]), each))
    return _pydicom(sorted(places)[len(places) // 2][1])


def _files(path: Path) -> int:
    files = list(path.iterdir())[:SCROLLED]
    for each in files:
        _pydicom(each)
    return len(files)


def _nibabel(path: Path, *, scroll: bool = False) -> int:
    nibabel: Any = import_module("nibabel")
    image = nibabel.load(path)
    depth = image.shape[2]
    wanted = range(min(SCROLLED, depth)) if scroll else [depth // 2]
    for index in wanted:
        assert image.dataobj[..., index].any()
    return len(wanted)


def _nibabel_scroll(path: Path) -> int:
    return _nibabel(path, scroll=True)


def _corners(side: int) -> list[tuple[int, int]]:
    """Where the regions of a slide begin: all over it, between tiles."""
    room = max(1, side - VIEW)
    return [(number * 2311 % room, number * 1733 % room) for number in range(SCROLLED)]


def _overview(path: Path) -> int:
    study = open_study(path)
    study.show("level 0", 0, size=(VIEW, VIEW))
    return 1


def _regions(path: Path) -> int:
    study = open_study(path)
    side = study.planes["level 0"].size[0]
    view = min(VIEW, side)
    for x, y in _corners(side):
        study.show("level 0", 0, (x, y, x + view, y + view), (view, view))
    return SCROLLED


def _thumbnail(path: Path) -> int:
    import openslide

    assert openslide.OpenSlide(path).get_thumbnail((VIEW, VIEW)).getbbox()
    return 1


def _read_regions(path: Path) -> int:
    import openslide

    slide = openslide.OpenSlide(path)
    side = slide.dimensions[0]
    view = min(VIEW, side)
    for corner in _corners(side):
        assert slide.read_region(corner, 0, (view, view)).convert("RGB").getbbox()
    return SCROLLED


WORK: dict[str, Callable[[Path], int]] = {
    "first": _first,
    "again": _first,
    "scroll": _scroll,
    "pydicom": _pydicom,
    "headers": _headers,
    "files": _files,
    "nibabel": _nibabel,
    "nibabel-scroll": _nibabel_scroll,
    "overview": _overview,
    "regions": _regions,
    "thumbnail": _thumbnail,
    "read-regions": _read_regions,
}
"""What is measured by name: it returns how many images it made."""


def main() -> None:
    """In the process that is measured: `WORK PATH`."""
    work, path = sys.argv[1], Path(sys.argv[2])
    do = WORK[work]
    before = path.parent / ("before" + "".join(path.suffixes))
    if work == "pydicom":
        before = next((path.parents[1] / "before").iterdir())
    do(before)
    if work in ("again", "scroll"):
        _first(path)
    resting = mark()
    start = time.process_time()
    times = do(path)
    seconds = time.process_time() - start
    print(json.dumps([seconds, times, max(resident("VmHWM") - resting, 0)]))


if __name__ == "__main__":
    main()
