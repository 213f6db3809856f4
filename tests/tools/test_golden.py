"""What the tools show of real images stays what a person has looked at.

`tests/tools/golden/*.png` holds the block means of each view, 16 x 16 for a view, four in a row.
Made by `python -m tests.tools.test_golden`, run in the repository; look at the pictures then.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel.testing
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from skimage.data import data_dir

from medgym import load
from medgym.imaging.opened import opened_image
from medgym.imaging.rendering import Study
from medgym.imaging.study import ImageRef
from medgym.registration import warped
from medgym.workspace import View, Workspace

GOLDEN = Path(__file__).parent / "golden"
SIDE, COLUMNS = 16, 4
VIEW = 128

IMAGES: dict[str, dict[str, Any]] = {
    "ct": {"uri": f"file:{get_testdata_file('CT_small.dcm')}"},
    "mr": {"uri": f"file:{get_testdata_file('MR_small.dcm')}"},
    "brain": {
        "uri": f"file:{nibabel.testing.data_path}/example4d.nii.gz",
        "series": "0",
        "plane": "axial",
        "index": 12,
    },
    "retina": {"uri": f"file:{data_dir}/retina.jpg"},
    "histology": {"uri": f"file:{data_dir}/ihc.png"},
}

BOX = [200, 300, 450, 600]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("enhance", {"how": how})
    for how in ("clahe", "gamma", "invert", "sharpen", "denoise", "edges")
] + [
    ("annotate", {"box": BOX, "number": 2}),
    ("annotate", {"point": [600, 550], "number": 31}),
    ("mirror", {"box": BOX, "about": "image"}),
    ("enhance", {"how": "clahe", "box": BOX}),
]  # fmt: skip


def means(view: View) -> NDArray[np.uint8]:
    return np.asarray(view.picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def shown(workspace: Workspace, name: str, arguments: dict[str, Any]) -> Sequence[View]:
    tool = load("tools", name)()
    views: Sequence[View] = tool(tool.parse({"view": 0, **arguments}), workspace).views
    return views


def sheet(views: Sequence[View]) -> Image.Image:
    tiles = [means(view) for view in views]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)]
    return Image.fromarray(np.vstack(rows))


def of_image(name: str) -> Image.Image:
    workspace = Workspace([opened_image(ImageRef(**IMAGES[name]))], view_size=VIEW)
    return sheet([view for call in CALLS for view in shown(workspace, *call)])


def of_clip() -> Image.Image:
    uri = f"file:{get_testdata_file('examples_ybr_color.dcm')}"
    workspace = Workspace([opened_image(ImageRef(uri=uri, frame=0))], view_size=VIEW)
    calls = ({"index": 10}, {"seconds": 0.0, "count": 4, "step": 5}, {"index": 10, "since": 0})
    return sheet([view for call in calls for view in shown(workspace, "frame", call)])


def of_pairs() -> Image.Image:
    """Each image beside itself a while ago: turned, shifted, in other levels, without a square."""
    views: list[View] = []
    angle = np.radians(6)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / 1.05
    shift = np.array([6, -4])
    for name in ("brain", "retina"):
        study = opened_image(ImageRef(**IMAGES[name])).start
        width, height = study.size
        size = (160, 160 * height // width)
        prior = np.asarray(study.render((0.0, 0.0, float(width), float(height)), size))
        centre = np.array(size) / 2
        matrix = np.column_stack([linear, centre - linear @ (centre + shift)])
        moved = [warped(prior[..., c].astype(float), matrix, prior.shape[:2], 0) for c in range(3)]
        now = np.stack(moved, axis=2) * 0.8 + 10
        now[50:60, 90:100] = 230
        pair = [Study(now.astype(np.uint8)), Study(prior)]
        views += shown(Workspace(pair, view_size=VIEW), "compare", {"prior_view": 1})
    return sheet(views)


MAKERS = {name: (lambda name=name: of_image(name)) for name in IMAGES} | {
    "clip": of_clip,
    "pairs": of_pairs,
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_pictures_are_those_that_were_looked_at(name: str) -> None:
    made = MAKERS[name]()
    golden = Image.open(GOLDEN / f"{name}.png")
    assert made.size == golden.size
    away = np.abs(np.asarray(made, np.int16) - np.asarray(golden.convert("RGB"), np.int16))
    # Libraries of another version may round otherwise, and draw digits otherwise.
    assert away.mean() < 1
    assert np.quantile(away, 0.99) <= 6


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]().save(GOLDEN / f"{name}.png", optimize=True)
