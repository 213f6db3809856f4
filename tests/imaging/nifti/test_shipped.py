"""Every file that nibabel ships is opened as nibabel reads it, or refused by name.

The table in docs/formats.md is written by this test: `WRITE_FORMATS=1 pytest -n0 FILE`.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medgym.errors import UserError
from medgym.imaging.nifti.study import NiftiStudy
from medgym.imaging.study import ImageRef, open_study
from tests.imaging import formats
from tests.imaging.dicom import oracle

FOLDER = Path(nibabel.__file__).parent
OTHERS = {".py", ".pyc", ".rst", ".m", ".txt", ".sh", ".gitignore"}
LPS = np.array([-1, -1, 1])


def files() -> Iterator[Path]:
    for folder in ("tests/data", "nicom/tests/data", "gifti/tests/data"):
        for path in sorted((FOLDER / folder).glob("*")):
            if path.is_file() and path.suffix not in OTHERS and path.name not in OTHERS:
                yield path


def volume(path: Path, series: str | None) -> str:
    """What medgym makes of a volume; an assertion fails where nibabel makes another thing of it."""
    study = open_study(ImageRef(uri=f"file:{path}", series=series))
    assert isinstance(study, NiftiStudy)
    image = nibabel.as_closest_canonical(nibabel.load(path))
    whole = image.get_fdata()
    whole = whole if whole.ndim == 3 else whole[..., int(series or 0)]
    for name, plane in study.planes.items():
        # From the axes right, front, head: to the left or the back, and down to the back or feet.
        axis = {"sagittal": 0, "coronal": 1, "axial": 2}[name]
        assert plane.count == whole.shape[axis]
        for index in {0, plane.count // 2, plane.count - 1}:
            along = index if axis == 2 else plane.count - 1 - index
            part = np.take(whole, along, axis=axis)
            wanted = part.T[::-1, ::-1]
            got = study.values(name, index)
            assert np.allclose(got, wanted, rtol=1e-5, equal_nan=True), (path, name)
            shown = np.asarray(study.show(name, index, size=plane.size), np.float64)[..., 0]
            if study.own_window() is None and np.ptp(got) > 0:
                levels = (wanted - wanted.min()) / np.ptp(wanted) * 255
                assert np.abs(shown - levels).max() <= 0.5 + 1e-3, (path, name)
            corner = study.to_patient(name, index, (0.5, 0.5))
            voxel = [0.0, 0.0, 0.0]
            voxel[axis] = along
            across, down = [each for each in range(3) if each != axis]
            voxel[across], voxel[down] = whole.shape[across] - 1, whole.shape[down] - 1
            place = nibabel.affines.apply_affine(image.affine, voxel) * LPS
            assert np.abs(corner - place).max() < 0.1, (path, name)
    return formats.described(study)


def told(path: Path) -> str:
    try:
        open_study(path)
    except UserError as error:
        text = formats.refused(error, path)
        if "time points" not in text:
            return text
        count = int(text.split(" has ")[1].split()[0])
        first, last = volume(path, "0"), volume(path, str(count - 1))
        assert first == last
        return f"{count} time points: {first}"
    return volume(path, None) if path.name.endswith((".nii", ".nii.gz")) else oracle.told(path)


@pytest.mark.filterwarnings("ignore")
def test_every_file_of_nibabel_is_opened_right_or_refused_by_name(tmp_path: Path) -> None:
    found = {}
    for path in files():
        found[path.name] = told(path)
        if path.name.endswith(".dcm.gz"):
            unpacked = tmp_path / path.stem
            unpacked.write_bytes(gzip.decompress(path.read_bytes()))
            found[f"{path.name}, unpacked"] = oracle.told(unpacked)
    opened = [name for name, text in found.items() if not text.startswith("refused")]
    assert len(opened) >= 14
    formats.check("files of nibabel", formats.grouped(found))
