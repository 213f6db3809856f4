"""Which images a run has lost, also where other runs lie in its folder."""

import shutil
from pathlib import Path

import medgym
from medgym.storage.run_folder import RunFolder
from medgym.storage.shown_images import lost_images


def test_a_run_inside_a_run_has_its_own_images(tmp_path: Path) -> None:
    """As the groups of which a training by DPO makes its pairs."""
    outer = RunFolder.create(tmp_path / "outer", {"command": "train"})
    inner = outer.path / "trajectories" / "dpo" / "round-1"
    list(medgym.collect("phantom:test[:2]", "scripted:oracle", out=inner))
    assert lost_images(inner) == []
    assert lost_images(outer.path) == []
    shutil.rmtree(inner / "images")
    lost = lost_images(inner)
    assert len(lost) >= 4, "an overview and a look of each case"
    assert lost_images(outer.path) == lost
