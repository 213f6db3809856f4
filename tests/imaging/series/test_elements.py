"""Of an ordinary header just that is read which pydicom reads; all else is left to it."""

import io
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medgym.imaging.series.elements import plain_elements
from medgym.imaging.series.entries import FileEntry, _stamp_at
from medgym.imaging.series.slices import _TEXTS, _WANTED, _said, slice_of

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
FILES = sorted(FOLDER.glob("*.dcm"))


@pytest.mark.filterwarnings("ignore")
def test_every_header_is_read_as_pydicom_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    for path in FILES:
        entry = FileEntry(str(path), _stamp_at(str(path)))
        head = entry.head(2**20)
        plain = plain_elements(head, _WANTED)
        if plain is None:
            continue
        read += 1
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword, tag in _TEXTS.items():
            element = header.get_item(tag)
            value = b"" if element is None else bytes(element.value or b"")
            assert plain.get(tag, b"") == value, (path, keyword)
        quick = _said(entry, entry.head(2**13))
        with monkeypatch.context() as without:
            without.setattr("medgym.imaging.series.slices.plain_elements", lambda *_: None)
            slow = _said(entry, entry.head(2**13))
        assert quick is not None
        assert slow is not None
        assert {k: v for k, v in quick.items() if v} == {k: v for k, v in slow.items() if v}, path
    assert read >= 45


def nested(*, undefined: bool) -> Dataset:
    """A sequence in a sequence, which holds elements that the root has too."""
    inner = Dataset()
    inner.Rows, inner.SeriesInstanceUID = 7, "9.9.9"
    outer = Dataset()
    outer.ReferencedSOPSequence = Sequence([inner, inner])
    outer.ReferencedSOPInstanceUID = "1.2"
    for each in (inner, outer):
        each.is_undefined_length_sequence_item = undefined
    outer["ReferencedSOPSequence"].is_undefined_length = undefined
    made = Dataset()
    made.ReferencedImageSequence = Sequence([outer])
    made["ReferencedImageSequence"].is_undefined_length = undefined
    made.SeriesInstanceUID, made.Rows, made.Columns = "1.2.3", 2, 3
    made.DiffusionBValue = 700.0
    made.BitsAllocated, made.PixelRepresentation = 8, 0
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.5"
    made.PixelData = bytes(6)
    return made


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_are_passed_over(tmp_path: Path, undefined: bool, syntax: str) -> None:
    made = nested(undefined=undefined)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = plain_elements((tmp_path / "a.dcm").read_bytes(), _WANTED)
    assert found is not None
    assert found[0x0020000E] == b"1.2.3\0"
    assert found[0x00280010] == b"\x02\0"
    described = slice_of(FileEntry(str(tmp_path / "a.dcm"), _stamp_at(str(tmp_path / "a.dcm"))))
    assert described is not None
    assert described.size == (3, 2)
    assert ("b value", 700.0) in described.kind


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_damaged_header_is_never_read_as_another(data: st.DataObject) -> None:
    """What a cut off or changed header gives is nothing, or what pydicom too reads of it."""
    whole = (FOLDER / "CT_small.dcm").read_bytes()[:8000]
    start = data.draw(st.integers(132, len(whole) - 1))
    if data.draw(st.booleans()):
        changed = whole[:start]
    else:
        changed = whole[:start] + data.draw(st.binary(min_size=1, max_size=4)) + whole[start + 4 :]
    found = plain_elements(changed, _WANTED)
    if found is None:
        return
    header = pydicom.dcmread(io.BytesIO(changed), stop_before_pixels=True, specific_tags=_WANTED)
    for tag, value in found.items():
        element = header.get_item(tag)
        if element is not None and isinstance(element.value, bytes):
            assert element.value == value
