"""Images that have no file of their own are read as files are, and named where they cannot be."""

import base64
import gc
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.opened import opened_image
from medgym.imaging.study import ImageRef, need_of, open_bytes, open_image, open_study
from medgym.uris import file_uri

PIXELS = np.arange(96, dtype=np.uint8).reshape(8, 12)


def png(pixels: np.ndarray = PIXELS) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "images 100%.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/source.jpg", png())
        archive.writestr("a/junk.png", b"no image at all")
        archive.writestr("folder/", b"")
    return path


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "test.parquet"
    images = [{"bytes": png(PIXELS + row), "path": None} for row in range(5)]
    lists = [images[:2], [], images[2:], images[:1], images]
    table = pa.table({"image": images, "images": lists, "raw": [png()] * 5})
    pq.write_table(table, path, row_group_size=2)
    return path


def test_a_member_of_a_zip_is_read_as_a_file_is(zipped: Path) -> None:
    ref = ImageRef(uri=file_uri(zipped), member="a/source.jpg")
    assert np.array_equal(open_image(ref).pixels, PIXELS)
    assert np.array_equal(opened_image(ref).start.pixels, PIXELS)
    assert open_study(ref).planes["image"].size == (12, 8)
    assert need_of(ref) > 0


@pytest.mark.parametrize(
    ("member", "added"), [("image/0", 0), ("image/4", 4), ("images/2/1", 3), ("raw/3", 0)]
)
def test_a_cell_of_a_parquet_file_is_read_as_a_file_is(
    parquet: Path, member: str, added: int
) -> None:
    ref = ImageRef(uri=file_uri(parquet), member=member)
    assert np.array_equal(open_image(ref).pixels, PIXELS + added)


def test_a_data_uri_holds_an_image() -> None:
    uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    assert np.array_equal(open_image(ImageRef(uri=uri)).pixels, PIXELS)
    assert open_study(uri).planes["image"].size == (12, 8)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("a/none.png", "has no member 'a/none.png'; fix:"),
        ("folder/", "is a folder; fix:"),
        ("a/junk.png", "'a/junk.png' of .* is not a readable PNG"),
    ],
)
def test_what_a_zip_does_not_hold_is_named(zipped: Path, member: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_image(ImageRef(uri=file_uri(zipped), member=member))
    assert "/dev/fd" not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("image/5", "has 5 rows, and no row 5; fix:"),
        ("picture/1", "has no column 'picture', but image, images, raw; fix:"),
        ("images/1/0", "'images/1/0' of .* holds no image; fix:"),
        ("image", "has no cell 'image'; fix: write COLUMN/ROW"),
        (f"image/{'9' * 5000}", "has no cell 'image/9+'; fix: write COLUMN/ROW"),
    ],
)
def test_what_a_parquet_file_does_not_hold_is_named(parquet: Path, member: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_image(ImageRef(uri=file_uri(parquet), member=member))


def test_only_a_zip_or_a_parquet_file_has_members(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(UserError, match="is neither a zip nor a Parquet file"):
        open_image(ImageRef(uri=file_uri(tmp_path / "a.png"), member="x"))


def test_a_file_that_was_exchanged_is_read_again(zipped: Path, tmp_path: Path) -> None:
    ref = ImageRef(uri=file_uri(zipped), member="a/source.jpg")
    open_image(ref)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a/source.jpg", png(PIXELS + 7))
    (tmp_path / "other.zip").replace(zipped)
    assert np.array_equal(open_image(ref).pixels, PIXELS + 7)


def test_held_files_are_closed_with_their_studies() -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/dev/fd"))

    before = descriptors()
    studies = [open_bytes(png(), "a picture") for _ in range(8)]
    assert descriptors() >= before + 8
    del studies
    assert descriptors() <= before
