"""`segment?backend=monai`: bundles for images and volumes, written here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import Tool, ToolError, UserError, load
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Study, open_study
from medgym.testing import PlainVolume
from medgym.tool import ToolResult
from medgym.workspace import Workspace

Made = Callable[[str], Path]


def segmenter(folder: Path, **options: Any) -> Tool:
    tool: Tool = load("tools", "segment")(backend="monai", model=str(folder), **options)
    return tool


def an_image(width: int, height: int) -> Workspace:
    """A bright block: columns from a third to a half, rows from a quarter to a half."""
    pixels = np.random.default_rng(0).integers(0, 60, (height, width)).astype(np.uint8)
    pixels[height // 4 : height // 2, width // 3 : width // 2] = 250
    return Workspace([Study(pixels)], view_size=48)


def test_a_batch_finds_what_single_calls_find(made: Made) -> None:
    tool = segmenter(made("bundle_2d"))
    calls = [
        (tool.parse({"view": 0} | more), an_image(*size))
        for size in ((60, 40), (60, 40), (64, 64))
        for more in ({"text": "spot"}, {"text": "bright spot", "box": [0, 0, 400, 600]})
    ]
    for result, (args, workspace) in zip(tool.run_many(calls), calls, strict=True):
        assert isinstance(result, ToolResult)
        assert result.data == tool(args, workspace).data
        width, height = workspace.studies[0].size
        right = width // 2 if args.box is None else round(0.4 * width)
        assert result.data["box_px"] == [width // 3, height // 4, right, height // 2]
    with pytest.raises(ToolError, match="does not know 'liver'; expected text, one of bright spot"):
        tool(tool.parse({"view": 0, "text": "liver"}), an_image(20, 20))
    dark = Workspace([Study(np.zeros((8, 8), np.uint8))])
    assert "area_px" not in tool(tool.parse({"view": 0, "text": "spot"}), dark).data


def test_a_volume_is_seen_once_and_cut_as_it_was(made: Made) -> None:
    values = np.random.default_rng(0).integers(0, 60, (7, 20, 24)).astype(np.float32)
    values[2:5, 5:10, 6:16] = 250
    values[0, 18:, :2] = 250
    volume = PlainVolume(values)
    tool = segmenter(made("bundle_3d"))
    for plane, index, box, ml in (("axial", 3, [6, 5, 16, 10], 0.3), ("coronal", 7, None, 0.3)):
        opened = OpenedImage(volume, ImagePlace(plane, index), volume.image(plane, index))
        workspace = Workspace([opened], view_size=48)
        one = tool(tool.parse({"view": 0, "text": "spot"}), workspace)
        assert one.data["box_px"] == (box or [6, 2, 16, 5])
        call = {"view": 0, "box": [100, 100, 900, 900], "through": True}
        through = tool(tool.parse(call), workspace)
        assert through.data["volume_ml"] == pytest.approx(ml)
    with pytest.raises(ToolError, match="takes volumes; the view is of a single image"):
        tool(tool.parse({"view": 0, "text": "spot"}), an_image(20, 20))


def test_a_volume_is_turned_as_the_bundle_asks(tmp_path: Path) -> None:
    """A NIfTI file whose axes run otherwise than its bundle's, and a network that looks at the next
    voxel toward the patient's right: the mask is the block, one voxel to the left."""
    from tests.tools.checkpoints import monai_bundle

    nibabel = pytest.importorskip("nibabel")
    values = np.zeros((6, 12, 10), np.float32)  # toward the head, the left and the back
    values[2:4, 3:6, 5:9] = 250
    affine = np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "turned.nii")
    study = open_study(tmp_path / "turned.nii")
    whole = {"_target_": "SimpleInferer"}
    tool = segmenter(monai_bundle(tmp_path / "bundle", 3, ahead=True, inferer=whole))
    for plane, index in (("axial", 3), ("coronal", 6)):
        opened = OpenedImage(study, ImagePlace(plane, index), study.image(plane, index))
        shown = study.image(plane, index).pixels > 100
        ys, xs = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
        found = tool(tool.parse({"view": 0, "text": "spot"}), Workspace([opened]))
        # In a picture the patient's left is on the right.
        assert found.data["box_px"] == [xs[0] + 1, ys[0], xs[-1] + 2, ys[-1] + 1]


def error_of(folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        segmenter(folder, **options)
    assert "; fix: " in str(caught.value)
    return str(caught.value)


def test_code_of_a_bundle_is_run_only_where_the_user_says_so(tmp_path: Path) -> None:
    from tests.tools.checkpoints import monai_bundle

    ran = tmp_path / "ran"
    expression = f"$__import__('pathlib').Path({str(ran)!r}).touch()"
    evil = {"inferer": {"_target_": "SimpleInferer", "extra": expression}}
    assert "inferer has the expression" in error_of(monai_bundle(tmp_path / "a", **evil))
    far = {"inferer": "@mine", "mine": {"_target_": "os.system", "command": "true"}}
    assert "mine names the class os.system" in error_of(monai_bundle(tmp_path / "b", **far))
    bare = monai_bundle(tmp_path / "c", inferer={"_target_": "download_url", "url": "file:x"})
    tool = segmenter(bare)
    with pytest.raises(UserError, match="names the class download_url"):
        tool(tool.parse({"view": 0, "text": "spot"}), an_image(20, 20))
    fine = {"inferer": {"_target_": "$__import__('monai').inferers.SimpleInferer"}}
    trusted = segmenter(monai_bundle(tmp_path / "d", **fine), trust_remote_code=True)
    assert trusted(trusted.parse({"view": 0, "text": "spot"}), an_image(20, 20)).data["area_px"]
    assert not ran.exists()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    from tests.tools.checkpoints import monai_bundle

    assert "has no configs/inference.json" in error_of(tmp_path)
    assert "has no network_def" in error_of(monai_bundle(tmp_path / "a", network_def="x"))
    four = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 4, "out_channels": 2}
    folder = monai_bundle(tmp_path / "b", network_def=four)
    (folder / "configs" / "metadata.json").unlink()
    assert "takes images of 4 channels" in error_of(folder)
    folder = monai_bundle(tmp_path / "c", network_def=four | {"in_channels": 1})
    (folder / "configs" / "metadata.json").unlink()
    assert "the 2 classes of" in error_of(folder)
    assert "labels has 1 names" in error_of(folder, labels="spot")
    (folder / "models" / "model.pt").unlink()
    assert "has no models/model.pt" in error_of(folder)
    broken = monai_bundle(tmp_path / "d")
    (broken / "models" / "model.pt").write_bytes(b"x")
    tool = segmenter(broken)
    with pytest.raises(UserError, match="cannot load the model"):
        tool(tool.parse({"view": 0, "text": "spot"}), an_image(20, 20))
