"""De-identifies a folder: each image into a new folder, under a number, and a report beside it.

An original is only read. A file is written under its number once it was read again and compared
with the original: the same values, the same spacing, no identifier that the original's texts hold.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from medgym.errors import RunError, UserError, missing_library
from medgym.files import open_regular
from medgym.imaging.clips.study import is_clip
from medgym.imaging.dicom.file import is_dicom
from medgym.imaging.nifti.study import is_nifti
from medgym.imaging.pictures.study import is_picture
from medgym.imaging.series.entries import DIRECTORY_CLASS
from medgym.imaging.series.study import is_directory, is_zip
from medgym.imaging.slides.study import is_slide
from medgym.privacy.burnt_in import TextFinder
from medgym.privacy.dicom import acquisition_times, scrub_dicom
from medgym.privacy.pictures import scrub_picture_file
from medgym.privacy.profile import Profile
from medgym.privacy.report import ScrubbedFile, ScrubReport
from medgym.privacy.same import refuse_other
from medgym.progress import progress
from medgym.storage.atomic import remove, write_atomic

_UNFINISHED = ".unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_SLIDES = (".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu")
_KINDS = {b"\x89P": ("PNG", ".png"), b"\xff\xd8": ("JPEG", ".jpg"), b"RI": ("WebP", ".webp"),
          b"BM": ("BMP", ".bmp"), b"II": ("TIFF", ".tif"), b"MM": ("TIFF", ".tif")}  # fmt: skip


def scrub(folder: Path, out: Path, *, mask_text: bool = False) -> ScrubReport:
    """De-identify the images of a folder and of the folders in it.

    Args:
        folder: what to read. out: a folder that is new or empty.
        mask_text: find text that is burnt into the pixels, and mask it.

    Returns:
        The report, which lies as JSON in `report_path(out)`, too.

    Raises:
        UserError: a folder cannot be used, or a library is missing.
        RunError: the new folder cannot be written to.
    """
    _check(folder, out)
    try:
        profile = Profile()
    except ImportError as error:
        raise missing_library(error) from error
    finder = TextFinder() if mask_text else None
    report = ScrubReport(folder, out, mask_text)
    found = list(_walk(folder))
    profile.times = acquisition_times([path for path, reason in found if not reason])
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    folders: dict[Path, Path] = {folder: out}
    with progress("files", len(found)) as advance:
        for number, (path, reason) in enumerate(found, start=1):
            place = folders.setdefault(path.parent, out / f"{len(folders):04}") / f"{number:06}"
            report.files.append(_scrubbed(path, reason, place, report, profile, finder))
            advance(1)
    with _writing(out):
        text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
        write_atomic(report_path(out), text.encode("utf-8", "backslashreplace") + b"\n")
        report_path(out).chmod(0o600)
    return report


def report_path(out: Path) -> Path:
    """Where the report lies: beside the new folder, for it names the originals."""
    return out.with_name(f"{out.name}.report.json")


def _check(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; fix: name the folder of the originals")
    here, there = folder.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"{out} and {folder} lie in each other; fix: choose a folder elsewhere as --out"
        )
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(f"{out} exists and is not an empty folder; fix: choose another as --out")
    if report_path(out).exists():
        raise UserError(f"{report_path(out)} exists; fix: move it, or choose another --out")


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """All files by name; a reason for those that are left out unread."""
    try:
        with os.scandir(folder) as scanned:
            listed = sorted(scanned, key=lambda each: each.name)
    except OSError as error:
        raise UserError(f"cannot read {folder} ({error.strerror}); fix: check it") from error
    for each in listed:
        path = Path(each.path)
        if each.is_symlink():
            yield path, "it is a link"
        elif each.is_dir():
            yield from _walk(path)
        elif not stat.S_ISREG(each.stat().st_mode):
            yield path, "it is no file"
        else:
            yield path, "it is hidden" if each.name.startswith(".") else ""


def _scrubbed(
    path: Path, reason: str, place: Path, report: ScrubReport, profile: Profile,
    finder: TextFinder | None,
) -> ScrubbedFile:  # fmt: skip
    name = str(path.relative_to(report.folder))
    kind = ""
    temporary = place.with_suffix(_UNFINISHED)
    try:
        if not reason:
            kind, suffix, reason = _kind(path)
        if reason:
            return ScrubbedFile(name, kind, reason=reason)
        with _writing(report.out):
            place.parent.mkdir(exist_ok=True)
        if kind == "DICOM":
            cleaned = scrub_dicom(path, temporary, profile, finder)
        else:
            cleaned, suffix = scrub_picture_file(path, kind, temporary, suffix, finder)
        finished = place.with_suffix(suffix)
        # Readers look at what a file is called, too.
        compared = temporary.with_name(f"{_UNFINISHED}-{finished.name}")
        temporary = temporary.rename(compared)
        refuse_other(path, temporary, cleaned.boxes or ())
        temporary.rename(finished)
        return ScrubbedFile(name, kind, str(finished.relative_to(report.out)), "", cleaned)
    except UserError as error:
        _refuse_full(error, report.out)
        return ScrubbedFile(name, kind or "image", reason=_said(error, path, temporary))
    except Exception as error:  # its text may quote the header
        _refuse_full(error, report.out)
        said = f"it cannot be read ({type(error).__name__})"
        return ScrubbedFile(name, kind or "image", reason=said)
    finally:
        remove(temporary)


def _kind(path: Path) -> tuple[str, str, str]:
    """The kind of a file, the end of its name, and why it is left out, if it is."""
    with open_regular(path, "image") as stream:
        head = stream.read(1024)
        slide = path.suffix.lower() in _SLIDES or is_slide(head[:512], stream, path)
    if is_directory(head[:512]) or DIRECTORY_CLASS in head:
        return "", "", "it is a DICOMDIR, which names the patients of its files"
    if is_zip(head[:512]):
        return "zip", "", "it is a zip; fix: unpack it first"
    if slide:
        said = "it is a whole slide, whose file may hold a picture of its label"
        return "slide", "", f"{said}; fix: remove the label with the scanner's own software"
    if is_nifti(head[:512], path):
        return "NIfTI", ".nii.gz" if head[:2] == b"\x1f\x8b" else ".nii", ""
    if is_clip(head[:512]):
        return "clip", "", "it is a clip; fix: save its frames as pictures or as a DICOM file"
    picture = is_picture(head[:512])
    named = path.suffix.lower() in (".dcm", ".dicom", ".ima") and not picture
    if is_dicom(head[:132], named=named):  # its preamble may be that of a picture
        return "DICOM", ".dcm", ""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF", "", "it is a GIF; fix: save its frames as PNG"
    if picture:
        return *_KINDS[head[:2]], ""
    return "", "", "it is no image that medgym reads"


def _said(error: UserError, path: Path, temporary: Path) -> str:
    return str(error).replace(str(temporary), "its copy").replace(str(path), "it")


def _refuse_full(error: BaseException | None, out: Path) -> None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise RunError(f"cannot write {out} ({error.strerror}); fix: make room") from error
        error = error.__cause__


class _writing:
    """A context in which an error of the system is one of the new folder."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise RunError(
                f"cannot write {self._out} ({error.strerror}); fix: choose another --out"
            ) from error
