"""The source `dicom`: a folder of studies, and a table with questions about them.

`dicom,path=DIR,questions=FILE:all` reads the table as the source `table` does, with the same
options. Its image column names a study by its folder or file in DIR, or by a StudyInstanceUID,
SeriesInstanceUID or SOPInstanceUID. A study by its UID is all of its series, one image each; a
series whose images do not make one volume, such as three localisers, is an image for each part.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.series.slices import hashed
from medgym.imaging.series.study import series_labels
from medgym.imaging.study import ImageRef
from medgym.source import Source
from medgym.sources.own.cases import RowReader
from medgym.sources.own.cell import RowFault, items
from medgym.sources.own.images import TableImages
from medgym.sources.own.reading import Rows, TableFile
from medgym.sources.own.table import cases_in, check_known, described, read, splits_in
from medgym.uris import file_path, file_uri

OTHERS = ("path", "questions", "gold", "delimiter", "name")
"""The options beside those that name columns."""

_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")
_TAGS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"),
    *("PatientID", "IssuerOfPatientID", "Modality", "Rows"),
)


class DicomSource(Source):
    """Cases about the studies of a folder.

    The group of a case is its patient: as the table says, else by a hash of the PatientID of its
    first image, which is said to no one. Its modality is the one of the header, where none is said.

    Args:
        options: `path`, `questions`, and the options of the source `table`.

    Raises:
        UserError: there is no such folder or table, or the table cannot be read.
    """

    name = "dicom"
    splits: tuple[str, ...] = ()

    def __init__(self, **options: str) -> None:
        check_known(self.name, options, OTHERS)
        for need, what in (("path", "the folder of studies"), ("questions", "a table")):
            if need not in options:
                raise UserError(
                    f"the source dicom needs {what}; fix: write dicom,path=DIR,questions=FILE:all"
                )
        folder = Path(options["path"]).expanduser()
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder} of studies; fix: check the path")
        self.path = Path(options["questions"]).expanduser()
        self.rows = Rows([TableFile(self.path, options.get("delimiter"))])
        name = options.get("name", self.name)
        columns, self.told = described(self.path, self.rows.names, options, name)
        self.columns = read(self.rows, columns, self.told, "type" in options)
        self.studies = Studies(folder)
        self.splits = splits_in(self.rows, self.columns)

    def cases(self, split: str) -> Sequence[Case]:
        """The cases of a split, made when they are asked for."""
        images = DicomImages(TableImages(self.rows, self.columns, self.studies.refs), self.studies)
        reader = RowReader(self.rows, self.columns, self.told, split, images, self.path.stem)
        # A name may be that of no study, so each row is looked at by itself.
        self.rows.good = None
        return cases_in(reader, self.rows, self.columns, split)


class DicomImages:
    """The studies of the rows of a table, with what their headers say."""

    def __init__(self, images: TableImages, studies: "Studies") -> None:
        self._images = images
        self._studies = studies
        self.refs = self.named = images.refs

    def group(self, ref: ImageRef) -> str:
        """The patient, by a hash; else the file."""
        return self._studies.patient(ref) or self._images.group(ref)

    def modality(self, ref: ImageRef) -> str | None:
        """The modality of an image, as its header says."""
        return self._studies.modality(ref)


class Studies:
    """The studies of a folder, by their places and their UIDs.

    The folder is read through once, headers only, as soon as a UID is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.normpath(folder.absolute()))
        self._known: _Index | None = None
        self._series: dict[str, tuple[ImageRef, ...]] = {}
        self._headers: dict[str, Any] = {}

    def refs(self, cell: str, column: str) -> tuple[ImageRef, ...]:
        """The images that a cell names.

        Raises:
            RowFault: one of them is not there.
        """
        try:
            names = items(cell)
        except ValueError as error:
            raise RowFault(f"the image {cell[:60]!r} (column {column!r}) is no list") from error
        return tuple(ref for name in names for ref in self._named(name.strip(), column))

    def patient(self, ref: ImageRef) -> str | None:
        """What says that two images are of one patient, and nothing else of that patient."""
        header = self._header(ref)
        if header is None or not str(header.get("PatientID", "")).strip():
            return None
        text = f"{header.get('IssuerOfPatientID', '')}\0{header.PatientID}"
        return "patient-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]

    def modality(self, ref: ImageRef) -> str | None:
        """The modality of an image, as its header says."""
        header = self._header(ref)
        return None if header is None else str(header.get("Modality", "")) or None

    def _named(self, name: str, column: str) -> tuple[ImageRef, ...]:
        path = self._folder / name
        if name and os.path.lexists(path):
            return (ImageRef(uri=file_uri(os.path.normpath(path))),)
        if _UID.fullmatch(name):
            if self._known is None:
                self._known = self._indexed()
            found = self._of_uid(name, self._known)
            if found:
                return found
        raise RowFault(
            f"the image {name[:80]!r} (column {column!r}) is no file, folder or UID in "
            f"{self._folder}"
        )

    def _of_uid(self, uid: str, known: "_Index") -> tuple[ImageRef, ...]:
        """What a UID names: a study with all its images, a series, or a file; else nothing."""
        if uid in known.studies:
            of_study = known.studies[uid]
            in_order = sorted(of_study, key=lambda each: (of_study[each], each))
            return tuple(ref for each in in_order for ref in self._of_uid(each, known))
        if uid in known.series:
            if uid not in self._series:
                self._series[uid] = _series_refs(uid, known)
            return self._series[uid]
        return known.files.get(uid, ())

    def _indexed(self) -> "_Index":
        known = _Index()
        for path in _files(self._folder):
            header = _header(path)
            if header is None or "SeriesInstanceUID" not in header:
                continue
            known.files[str(header.get("SOPInstanceUID", ""))] = (ImageRef(uri=file_uri(path)),)
            if "Rows" not in header:  # a report, or the outlines of a plan
                continue
            uid = str(header.SeriesInstanceUID)
            known.series[uid].append(path)
            for folder in (path.parent, *path.parent.parents):
                known.inside[folder].add(uid)
                if folder == self._folder:
                    break
            number = header.get("SeriesNumber")
            known.studies[str(header.get("StudyInstanceUID", ""))][uid] = int(number or 0)
        return known

    def _header(self, ref: ImageRef) -> Any:
        if ref.uri not in self._headers:
            path = file_path(ref.uri)
            files = _files(path) if path is not None and path.is_dir() else [path] if path else []
            headers = (_header(each) for each in files)
            self._headers[ref.uri] = next((each for each in headers if each is not None), None)
        return self._headers[ref.uri]


@dataclass
class _Index:
    """What a folder holds, by UID.

    Attributes:
        files: each by its SOPInstanceUID. series: their images, in order of their places.
        studies: the series of each, with their numbers. inside: the series under each folder.
    """

    files: dict[str, tuple[ImageRef, ...]] = field(default_factory=dict)
    series: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    studies: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    inside: defaultdict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))


def _series_refs(uid: str, known: _Index) -> tuple[ImageRef, ...]:
    """A series: its one file; or the folder under which all its files are, and where there is more
    in that, its label. One whose images make several volumes is an image for each."""
    files = known.series[uid]
    if len(files) == 1:
        return (ImageRef(uri=file_uri(files[0])),)
    folder = Path(os.path.commonpath([file.parent for file in files]))
    own = hashed(uid)
    try:
        labels = series_labels(folder)
    except UserError:  # it is said again where the image is opened
        labels = []
    if len(labels) < 2:
        label = None if known.inside[folder] == {uid} else own
        return (ImageRef(uri=file_uri(folder), series=label),)
    of_series = [each for each in labels if each == own or each.startswith(f"{own}.")] or [own]
    return tuple(ImageRef(uri=file_uri(folder), series=label) for label in of_series)


def _files(folder: Path) -> Iterable[Path]:
    """The files under a folder, in order, without hidden ones."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place) / name


def _header(path: Path) -> Any:
    """What a DICOM file says of its series and patient; None for a file of another kind."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError):
        return None
