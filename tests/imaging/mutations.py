"""300 files that are not what they were: cut off, changed, swapped, bombs, empty, no files at all.

Run as a program it opens each and shows its first and last images, then plays a run over all of
them. It prints what was said of each, and the most memory that it took.
"""

import gzip
import io
import json
import os
import signal
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import skimage
import tifffile
from PIL import Image

Make = Callable[[Path], None]
"""Writes a mutation into a folder of its own, under a name that it is given."""

NUMBER = 300
SECONDS = 30
"""So long one may take, on a busy machine too, before it counts as hanging."""

_PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
_NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
_SKIMAGE = Path(skimage.__file__).parent / "data"
_ORIGINALS = (
    *(_PYDICOM / name for name in (
        "CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "rtdose.dcm",
        "image_dfl.dcm", "ExplVR_BigEnd.dcm", "MR_small_implicit.dcm", "SC_rgb_rle_2frame.dcm",
        "liver_expb_1frame.dcm",
    )),
    *(_NIBABEL / name for name in ("standard.nii.gz", "functional.nii", "anatomical.nii")),
    *(_SKIMAGE / name for name in (
        "text.png", "chessboard_RGB.png", "rocket.jpg", "multipage.tif",
    )),
)  # fmt: skip


def _pictures() -> dict[str, bytes]:
    grey = Image.open(_SKIMAGE / "text.png").crop((0, 0, 96, 64))
    deep = np.asarray(grey).astype(np.uint16) * 16
    written = {}
    for name, form, how in (("a.webp", "WEBP", {}), ("a.bmp", "BMP", {})):
        stream = io.BytesIO()
        grey.convert("RGB").save(stream, form, **how)
        written[name] = stream.getvalue()
    for name, how in (("deep.tif", {}), ("packed.tiff", {"compression": "zlib"})):
        stream = io.BytesIO()
        tifffile.imwrite(stream, deep, photometric="minisblack", **how)
        written[name] = stream.getvalue()
    return written


def originals() -> dict[str, bytes]:
    """Real files by name, as they are."""
    return {path.name: path.read_bytes() for path in _ORIGINALS} | _pictures()


def _bytes(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(min(len(data), 1500), size=4):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    length = int(rng.integers(1, 200))
    return data[:start] + rng.bytes(length) + data[start + length :]


def _png_of(width: int, height: int, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, said: bytes) -> bytes:
        check = zlib.crc32(kind + said)
        return struct.pack(">I", len(said)) + kind + said + struct.pack(">I", check)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + extra + pixels + chunk(b"IEND", b"")


def _text_bomb() -> bytes:
    said = b"Comment\0\0" + zlib.compress(bytes(4_000_000), 1)
    check = zlib.crc32(b"zTXt" + said)
    return struct.pack(">I", len(said)) + b"zTXt" + said + struct.pack(">I", check)


def _dicom(name: str, **tags: Any) -> bytes:
    data = pydicom.dcmread(_PYDICOM / name)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def _deflated_bomb() -> bytes:
    """A deflated file whose header says 512 x 512, with 100 MB behind it."""
    data = pydicom.dcmread(_PYDICOM / "image_dfl.dcm")
    plain = io.BytesIO()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.save_as(plain)
    whole = plain.getvalue()
    at = whole.index(b"\xe0\x7f\x10\x00")
    real = (_PYDICOM / "image_dfl.dcm").read_bytes()
    length = struct.unpack_from("<L", real, 140)[0]
    start = 132 + 12 + length
    meta_length = struct.unpack_from("<L", whole, 140)[0]
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(whole[132 + 12 + meta_length : at + 8])
    packed += packer.compress(struct.pack("<L", 100_000_000))
    for _ in range(10):
        packed += packer.compress(bytes(10_000_000))
    return real[:start] + packed + packer.flush()


def _nifti(name: str, at: int, form: str, *values: float) -> bytes:
    data = bytearray((_NIBABEL / name).read_bytes())
    struct.pack_into(form, data, at, *values)
    return bytes(data)


def _zip(members: dict[str, bytes], cut: int | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()[:cut]


def _socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has a hundred characters at most
    try:
        listening.bind(path.name)
    finally:
        os.chdir(here)
        listening.close()


def _folder(**files: bytes) -> Make:
    def make(path: Path) -> None:
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)

    return make


def _folder_with_a_pipe(path: Path) -> None:
    _folder(a=b"text")(path)
    os.mkfifo(path / "b.dcm")


def _crafted() -> dict[str, Make]:
    """By the name under which each is written."""
    ct = (_PYDICOM / "CT_small.dcm").read_bytes()
    nii = (_NIBABEL / "anatomical.nii").read_bytes()
    empty = {f"empty{end}": _bytes(b"") for end in (
        "", ".dcm", ".png", ".jpg", ".tif", ".nii", ".nii.gz", ".zip",
    )}  # fmt: skip
    links: dict[str, Make] = {
        "pipe.dcm": os.mkfifo,
        "pipe.nii.gz": os.mkfifo,
        "socket.png": _socket,
        "loop.png": lambda path: path.symlink_to(path.name),
        "dangling.png": lambda path: path.symlink_to("nowhere.png"),
        "folder.png": lambda path: path.mkdir(),
        "folder.pipe": _folder_with_a_pipe,
        "folder.half": _folder(a=ct[: len(ct) // 2]),
        "folder.text": _folder(a=b"a text", b=b"another"),
        "folder.empty.dcm": _folder(**{"a.dcm": b""}),
        "missing.png": lambda path: None,
    }
    devices: dict[str, Make] = {
        f"{device}.png": lambda path, device=device: path.symlink_to(f"/dev/{device}")  # type: ignore[misc]
        for device in ("zero", "null", "random", "full", "tty")
    }
    pictures = {
        "wide.png": _png_of(60000, 60000),
        "wider.png": _png_of(2**31 - 1, 2**31 - 1),
        "flat.png": _png_of(0, 5),
        "few.png": _png_of(5000, 5000),
        "text.png": _png_of(30, 30, _text_bomb()),
        "magic.png": b"\x89PNG\r\n\x1a\n",
        "magic.tif": b"II*\0\x08\0\0\0",
        "loop.tif": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "magic.jpg": b"\xff\xd8\xff\xe0",
        "magic.bmp": b"BM" + bytes(60),
        "magic.webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8),
        "page.html": b"<!doctype html><title>not found</title>",
        "noise.png": np.random.default_rng(5).bytes(5000),
    }
    volumes = {
        "many.nii": _nifti("anatomical.nii", 40, "<8h", 3, *[32767] * 3, 1, 1, 1, 1),
        "many.nii.gz": gzip.compress(
            _nifti("anatomical.nii", 40, "<8h", 3, *[32767] * 3, 1, 1, 1, 1)
        ),
        "zeros.nii.gz": gzip.compress(nii[:352] + bytes(10_000_000), 1),
        "negative.nii": _nifti("anatomical.nii", 40, "<8h", 3, -5, 3, 3, 1, 1, 1, 1),
        "type.nii": _nifti("anatomical.nii", 70, "<h", 1792),
        "place.nii": _nifti("anatomical.nii", 252, "<2h", 0, 0),
        "flat.nii": _nifti("anatomical.nii", 280, "<4f", 0, 0, 0, 0),
        "far.nii": _nifti("anatomical.nii", 108, "<f", 1e30),
        "twice.nii.gz": gzip.compress(gzip.compress(nii)),
    }
    dicoms = {
        "wide.dcm": _dicom("CT_small.dcm", Rows=65535, Columns=65535),
        "tall.dcm": _dicom("CT_small.dcm", Rows=4096),
        "none.dcm": _dicom("CT_small.dcm", Rows=0),
        "frames.dcm": _dicom("CT_small.dcm", NumberOfFrames=2**31 - 1),
        "back.dcm": _dicom("CT_small.dcm", NumberOfFrames=-3),
        "bits.dcm": _dicom("CT_small.dcm", BitsStored=40),
        "samples.dcm": _dicom("CT_small.dcm", SamplesPerPixel=7),
        "slope.dcm": _dicom("CT_small.dcm", RescaleSlope="1e38", RescaleIntercept="1e38"),
        "colours.dcm": _dicom("CT_small.dcm", PhotometricInterpretation="PALETTE COLOR"),
        "jpeg.dcm": _dicom("JPEG2000.dcm", Rows=16000, Columns=11000),
        "rle.dcm": _dicom("MR_small_RLE.dcm", Rows=13000, Columns=13000),
        "deflated.dcm": _deflated_bomb(),
        "preamble.dcm": bytes(128) + b"DICM",
        "zeros.dcm": ct[:3000] + bytes(20_000_000),
        "text.dcm": b"this is no image\n" * 50,
    }
    zips = {
        "half.zip": _zip({"a.dcm": ct, "b.dcm": ct}, cut=-300),
        "twice.zip": _zip({"a.dcm": ct, "b.dcm": ct}),
        "bomb.zip": _zip({"a.dcm": ct[:3000] + bytes(20_000_000)}),
        "out.zip": _zip({"../../a.dcm": ct[:300]}),
        "none.zip": _zip({}),
        "DICOMDIR": (_PYDICOM / "dicomdirtests" / "DICOMDIR").read_bytes(),
    }
    plain = pictures | volumes | dicoms | zips
    return empty | links | devices | {name: _bytes(data) for name, data in plain.items()}


def mutations(number: int = NUMBER) -> Iterator[tuple[str, Make]]:
    """The first are crafted; then each real file is cut off, changed and misnamed in turns."""
    rng = np.random.default_rng(14)
    made = list(_crafted().items())
    yield from made[:number]
    files = list(originals().items())
    count = number - len(made)
    for turn in range(max(0, count)):
        name, data = files[turn % len(files)]
        kind = turn // len(files) % 5
        if kind in (0, 2):
            cut = int(len(data) * rng.random() ** (1 + kind))
            yield f"cut{turn}-{name}", _bytes(data[:cut])
        elif kind == 1:
            yield f"flipped{turn}-{name}", _bytes(_flipped(data, rng))
        elif kind == 3:
            yield f"overwritten{turn}-{name}", _bytes(_overwritten(data, rng))
        else:
            other = files[(turn * 7 + 3) % len(files)][0]
            yield f"misnamed{turn}-{other}", _bytes(_flipped(data, rng) if turn % 2 else data)


def written(folder: Path, number: int) -> dict[str, Path]:
    """The files, each in a folder of its own; real ones are beside them."""
    found = {}
    for place, (name, make) in enumerate(mutations(number)):
        (folder / str(place)).mkdir()
        found[name] = folder / str(place) / name
        make(found[name])
    return found


def opened(path: Path) -> str | None:
    """What is said of a file; None where it opens."""
    import medgym

    try:
        study = medgym.open_study(path)
        for name, plane in study.planes.items():
            for index in {0, plane.count - 1}:
                study.values(name, index)
                study.show(name, index, size=(64, 64))
    except medgym.UserError as error:
        return str(error)
    return None


def played(paths: dict[str, Path], out: Path) -> tuple[dict[str, str], list[str]]:
    """Plays a run over all; returns what cannot be read by case, and which were played."""
    from medgym import collect
    from medgym.cases import Case
    from medgym.episode import Rules
    from medgym.imaging.study import ImageRef
    from medgym.storage.run_folder import RunFolder
    from medgym.tool import load_tools

    def shown(path: Path) -> ImageRef:
        uri = path.absolute().as_uri()
        if path.name.endswith((".nii", ".nii.gz")):
            series = "0" if "functional" in path.name else None
            return ImageRef(uri=uri, plane="axial", index=0, series=series)
        return ImageRef(uri=uri, frame=0)

    cases = [
        Case(
            id=name, images=(shown(path),), question="?",
            options=("a", "b"), answer="a", answer_type="choice", group=name, source="mutations",
            split="test",
        )
        for name, path in paths.items()
    ]  # fmt: skip
    rules = Rules(tools=load_tools(["zoom"]), view_size=64)
    folder = RunFolder.create(out, "")
    ended = list(collect(cases, "scripted:prior", rules, out=folder))
    assert len(ended) == len(cases)
    failed = {each.case_id: each.failure for each in ended if each.failure is not None}
    assert folder.manifest["unreadable"]["count"] == len(failed)
    return failed, [each.case_id for each in folder.trajectories]


def _most_resident() -> int:
    """The most KiB that this program has had; `getrusage` counts what started it too."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """`FOLDER NUMBER`: what is said of each, of the run, and the most KiB that were resident.

    The run plays all that are crafted and a sixth of the others.
    """
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    paths = written(folder, number)
    import medgym.imaging.study  # noqa: F401 - what is loaded counts in no file's memory

    before = _most_resident()
    said, most = {}, {}
    for name, path in paths.items():
        signal.alarm(SECONDS)  # the process dies of it
        print(name, file=sys.stderr, flush=True)
        said[name] = opened(path)
        most[name] = _most_resident()
    signal.alarm(10 * SECONDS)
    good = folder / "good"
    good.mkdir()
    for name, data in originals().items():
        (good / name).write_bytes(data)
    crafted = len(_crafted())
    some = {name: path for place, (name, path) in enumerate(paths.items())
            if place < crafted or place % 6 == 0}  # fmt: skip
    # A run most of whose cases cannot be read is refused, so there are several of each whole file.
    whole = {f"whole{copy or ''}-{name}": good / name for copy in range(6) for name in originals()}
    failed, ended = played(some | whole, folder / "run")
    after = _most_resident()
    print(json.dumps({"said": said, "most": most, "before": before, "after": after,
                      "failed": failed, "played": ended}))  # fmt: skip


if __name__ == "__main__":
    main()
