"""The source `folder`: folders of images, one for each class.

`folder,path=DIR:all` asks of each image of `DIR/CLASS/` which class it shows; the options are the
names of the folders. Where the folders of DIR are all splits (`train`, `test`, ...), the classes
are the folders in these.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from medgym.cases import LETTERS, Case
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef
from medgym.source import Source
from medgym.sources.own.cell import modality
from medgym.sources.rows import RowCases
from medgym.uris import file_uri

WHOLE = "all"
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
"""The names of folders that are splits, where all folders have one of them."""

QUESTION = "Which of these does the image show?"
OPTIONS = ("path", "question", "modality", "name")

_OTHERS = (
    *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".html", ".pdf", ".xlsx"),
    *(".db", ".ini"),  # what Windows leaves in folders of pictures
)
_SERIES = (".dcm", ".dicom")


class LabelledFile(NamedTuple):
    """An image of a class, by its path in the folder of that class."""

    label: str
    path: str


class FolderSource(Source):
    """Cases from folders of images.

    Args:
        options: `path`, and where wanted `question`, `modality`, and `name`, by which the ids of
            the cases begin (by default that of the folder).

    Raises:
        UserError: there is no such folder, or it has fewer than two classes, or more than 26.
    """

    name = "folder"
    splits: tuple[str, ...] = ()

    def __init__(self, **options: str) -> None:
        for option in options:
            if option not in OPTIONS:
                raise unknown("option of the source folder", option, OPTIONS)
        if "path" not in options:
            raise UserError("the source folder needs one; fix: write folder,path=DIR:all")
        self.path = Path(os.path.normpath(Path(options["path"]).expanduser().absolute()))
        self.question = options.get("question", QUESTION)
        self.modality = modality(options.get("modality", ""))
        self.called = options.get("name", self.path.name or self.name)
        inside = _folders(self.path)
        are_splits = inside and all(name.casefold() in SPLITS for name in inside)
        self.splits = tuple(inside) if are_splits else (WHOLE,)
        roots = [self.path / name for name in inside] if are_splits else [self.path]
        self.classes = tuple(sorted({name for root in roots for name in _folders(root)}))
        if not 2 <= len(self.classes) <= len(LETTERS):
            raise UserError(
                f"{self.path} has {len(self.classes)} folders of classes, and 2 to {len(LETTERS)} "
                "can be options; fix: name the folder that has a folder for each class"
            )
        self._are_splits = are_splits

    def cases(self, split: str) -> Sequence[Case]:
        """A case of each image."""
        root = self.path / split if self._are_splits else self.path
        members = [
            LabelledFile(label, path) for label in _folders(root) for path in _images(root / label)
        ]

        def make(member: LabelledFile) -> Case:
            uri = file_uri(root / member.label / member.path)
            return Case(
                id=f"{self.called}/{split}/{member.label}/{member.path}",
                images=(ImageRef(uri=uri),),
                question=self.question,
                options=self.classes,
                answer=member.label,
                answer_type="choice",
                modality=self.modality,
                group=uri,
                source=self.called,
                split=split,
            )

        return RowCases(
            members,
            make,
            lambda number: str(root / members[number].label / members[number].path),
            suspects=(),
            unique_ids=True,
        )


def _folders(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    try:
        found = [each.name for each in os.scandir(root) if each.is_dir()]
    except OSError as error:
        raise UserError(
            f"cannot read the folder {root} ({error.strerror}); fix: check it"
        ) from error
    return sorted(name for name in found if not name.startswith("."))


def _images(folder: Path) -> Iterator[str]:
    """The images under a folder, by their paths in it; a folder of DICOM files is one study."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(place, folder)
        wanted = [
            name
            for name in sorted(files)
            if not name.startswith(".") and not name.lower().endswith(_OTHERS)
        ]
        if inside != "." and any(name.lower().endswith(_SERIES) for name in wanted):
            folders.clear()
            yield inside
            continue
        yield from (os.path.normpath(os.path.join(inside, name)) for name in wanted)
