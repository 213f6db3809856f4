"""Boxes without a plane: on a slide they are of its finest level, in a volume they are nowhere."""

from pathlib import Path

import numpy as np
import tifffile

from medgym.case_checks.regions import RegionFindings
from medgym.cases import Case
from medgym.imaging.study import ImageRef
from medgym.regions import Region
from tests.imaging.slides.conftest import levels_of, write_tiff


def row_of(path: Path, box: tuple[float, float, float, float]) -> tuple[str, str]:
    found = RegionFindings()
    found.add(
        Case(
            id="a", images=(ImageRef(uri=path.as_uri()),), question="Where?", answer="there",
            answer_type="open", group="a", source="s", split="test",
            regions=(Region(label="finding", box_px=box),),
        )
    )  # fmt: skip
    row = found.row()
    assert row is not None
    return row.verdict, row.figure


def test_a_box_on_a_slide_is_one_of_its_finest_level(tmp_path: Path) -> None:
    write_tiff(tmp_path / "slide.tif", levels_of(512, 384))
    assert row_of(tmp_path / "slide.tif", (500.0, 300.0, 512.0, 384.0))[0] == "pass"
    verdict, figure = row_of(tmp_path / "slide.tif", (500.0, 300.0, 600.0, 384.0))
    assert verdict == "fail"
    assert "its box passes the edge" in figure


def test_a_box_on_one_of_several_pages_says_on_which(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "pages.tif", np.zeros((4, 32, 32), np.uint8), photometric="minisblack"
    )
    verdict, figure = row_of(tmp_path / "pages.tif", (0.0, 0.0, 8.0, 8.0))
    assert verdict == "fail"
    assert "does not say in which plane" in figure
