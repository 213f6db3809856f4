"""What a tool shows lies where it says: in the picture, in the original, in the patient."""

import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym import Case, MedEnv, Window
from medgym.imaging.nifti.study import NiftiStudy
from medgym.imaging.study import ImageRef, open_study
from medgym.messages import render_call

SHAPE = (6, 9, 7)
LPS = np.array([-1.0, -1.0, 1.0])
VIEW = 96

side = st.floats(-1, 1)
edge = st.integers(0, 900)
extent = st.integers(100, 900)
box = st.tuples(edge, edge, extent, extent).map(
    lambda given: (
        given[0],
        given[1],
        min(given[0] + given[2], 1000),
        min(given[1] + given[3], 1000),
    )
)


def affine(directions: list[float], lengths: tuple[float, ...], start: tuple[float, ...]) -> Any:
    """An oblique and mirrored volume of unequal sides, sheared a little."""
    turned = np.array(directions).reshape(3, 3) + np.diag([2.0, -2.0, 2.0])
    turned /= np.linalg.norm(turned, axis=0)
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = turned * lengths, start
    return made


def case(path: Path) -> Case:
    return Case(
        id="own/1", images=(ImageRef(uri=f"file:{path}", plane="axial", index=0),), question="?",
        options=("a", "b"), answer="a", answer_type="choice", group="1", source="own", split="test",
    )  # fmt: skip


@given(
    directions=st.lists(side, min_size=9, max_size=9),
    lengths=st.tuples(*[st.floats(0.3, 7)] * 3),
    start=st.tuples(*[st.floats(-900, 900)] * 3),
    plane=st.sampled_from(["axial", "coronal", "sagittal"]),
    depth=st.floats(0, 0.999),
    boxes=st.tuples(box, box),
    window=st.tuples(st.floats(50, 300), st.floats(20, 400)),
)
@settings(max_examples=15, deadline=None)
def test_a_view_of_a_view_is_where_nibabel_says(
    directions: list[float],
    lengths: tuple[float, ...],
    start: tuple[float, ...],
    plane: str,
    depth: float,
    boxes: tuple[tuple[int, ...], tuple[int, ...]],
    window: tuple[float, float],
) -> None:
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        nibabel.save(nibabel.Nifti1Image(voxels, affine(directions, lengths, start)), path)
        said = nibabel.load(path).affine
        study = open_study(path)
        assert isinstance(study, NiftiStudy)
        index = int(depth * study.planes[plane].count)
        shown = study.values(plane, index)

        env = MedEnv([case(path)], ["slice", "zoom", "window"], view_size=VIEW)
        env.reset()
        centre, width = window
        for call in (
            render_call("slice", {"view": 0, "plane": plane, "index": index}),
            render_call("zoom", {"view": 1, "box": list(boxes[0])}),
            render_call("window", {"view": 2, "centre": centre, "width": width}),
            render_call("zoom", {"view": 3, "box": list(boxes[1])}),
        ):
            env.step(call)
        assert env.episode is not None
        workspace = env.episode.workspace
        views = workspace.views
        assert len(views) == 5, [node.text for node in env.episode.nodes]
        mm = study.place_mm(plane, index)
        env.step(render_call("slice", {"view": 4, "mm": mm}))
        assert workspace.views[5].index == index

        last = views[4]
        assert (last.plane, last.index) == (plane, index)
        asked = views[3].to_px(boxes[1])
        assert np.abs(np.subtract(last.box_px, asked)).max() <= 1, "whole pixels, one at least"
        for view in views[1:]:
            for given in (*boxes, (0, 0, 1000, 1000)):
                assert np.allclose(view.from_px(view.to_px(given)), given, atol=1e-6)
            own = None if view.number < 3 else Window(centre, width, "LINEAR_EXACT")
            picture = study.show(plane, index, view.box_px, view.size, own)
            assert np.array_equal(np.asarray(view.picture), np.asarray(picture)), view.number

        def patient(x: int, y: int) -> Any:
            """Where nibabel says the centre of a pixel is, found by its value."""
            voxel = np.unravel_index(int(shown[y, x]), SHAPE)
            return nibabel.affines.apply_affine(said, voxel) * LPS

        across, down = patient(1, 0) - patient(0, 0), patient(0, 1) - patient(0, 0)
        for point in ((0, 0), (1000, 1000), (137, 861), (500, 500)):
            x, y, *_ = last.to_px((*point, *point))
            column, row = min(int(x), shown.shape[1] - 1), min(int(y), shown.shape[0] - 1)
            wanted = patient(column, row) + (x - column - 0.5) * across + (y - row - 0.5) * down
            found = study.to_patient(plane, index, (x, y))
            assert np.abs(found - wanted).max() < 0.1
            again, back = study.from_patient(plane, found)
            assert again == pytest.approx(index, abs=1e-3)
            assert np.abs(np.subtract(back, (x, y))).max() < 0.5
            seen = last.from_px((*back, *back))[:2]
            assert np.abs(np.subtract(seen, point)).max() <= 1e-2 * 1000 / 2
