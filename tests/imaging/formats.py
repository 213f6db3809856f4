"""The tables of docs/formats.md: what is in them is what a test has just seen.

They are written by the tests: `WRITE_FORMATS=1 pytest -n0 FILE`.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from medgym.errors import UserError
from medgym.imaging.imaging_study import ImagingStudy

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
END = "<!-- end -->"
HEAD = "| file | what medgym makes of it |\n|---|---|\n"


def described(study: ImagingStudy) -> str:
    """What an opened file is, as the tables say it."""
    name = next(iter(study.planes))
    image, planes = study.image(name, 0), study.planes.items()
    unit = f", {image.unit}" if image.unit else ", colours" if image.pixels.ndim == 3 else ""
    parts = []
    for name, plane in planes:
        mm = "" if plane.spacing_mm is None else ", {:g} x {:g} mm".format(*plane.spacing_mm)
        mm += " at the detector" if plane.spacing_origin == "detector" else ""
        named = f"{name} " if len(planes) > 1 else ""
        count = "" if plane.count == 1 else f", {plane.count} {'frames' if not named else 'images'}"
        parts.append(f"{named}{plane.size[0]} x {plane.size[1]}{count}{unit}{mm}")
    return "; ".join(parts)


def refused(error: UserError, path: Path) -> str:
    """The one line by which a file is refused; the path in it is cut out."""
    text = str(error)
    assert text.count(str(path)) == 1, text
    assert "fix: " in text
    assert "\n" not in text
    return "refused: " + text.replace(str(path), "it")


def grouped(found: Mapping[str, str]) -> dict[str, str]:
    """Files of one ending that are refused for the same reason, in one line."""
    alike: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, text in found.items():
        ending = "".join(Path(name).suffixes[-2:]) if name.endswith("z") else Path(name).suffix
        alike[text, ending if text.startswith("refused") else name].append(name)
    return {
        names[0] if len(names) == 1 else f"{len(names)} files *{ending}": text
        for (text, ending), names in alike.items()
    }


def check(marker: str, found: Mapping[str, str], *, ticks: bool = True) -> None:
    """An assertion fails where the page has not just this table; it is written if that is asked."""
    tick = "`" if ticks else ""
    table = HEAD + "".join(f"| {tick}{name}{tick} | {text} |\n" for name, text in found.items())
    page = PAGE.read_text("utf-8")
    begin = f"<!-- {marker} -->\n"
    assert begin in page
    before, _, rest = page.partition(begin)
    wanted = before + begin + table + END + rest.partition(END)[2]
    if os.environ.get("WRITE_FORMATS"):
        PAGE.write_text(wanted, "utf-8")
        return
    # Another version of a library ships other files.
    missing = [line for line in table.splitlines() if line not in page]
    assert not missing, f"the table is old ({missing[0]}); fix: WRITE_FORMATS=1"
