"""OmniMedVQA: questions made from the labels of 73 data sets, of which 42 are shipped with images.

What was ambiguous, and how it is decided here:

- No split is published. The source offers one, `all`: every item whose image is shipped. A
  part for training has to be drawn by `group`, which is the image.
- Items of restricted data sets name images that are not shipped. They are dropped, and counted.
- `option_C` and `option_D` may be absent: items have two, three or four options.
- `gt_answer` is a text. It is compared with the options as a text; where two options are equal, any
  of their letters is right.
- Modalities are written in several ways, one without its closing bracket. They become DICOM codes,
  and `unknown` none. One item has `modality` for `modality_type`; either is read.
- File names hold `%`, `..` and blanks. They are names as they stand.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from medgym.cases import normalised
from medgym.errors import UserError
from medgym.imaging.series.entries import Archive
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item
from medgym.sources.exams.files import Row, field, json_of, parsed
from medgym.sources.exams.modalities import modality_code
from medgym.sources.image_files import ImageFiles
from medgym.sources.rows import RowCases

_TOP = "OmniMedVQA"
_ACCESS = ("Open-access", "Restricted-access")
_LOCKED = Item(
    key="",
    file="",
    number=0,
    group="",
    images=(),
    ref=lambda name: ImageRef(uri=name),
    question="",
    options=(),
    answer="",
    fault="its image is not shipped (restricted access)",
)
"""An item of a restricted data set."""


class OmniMedVQA(Exam):
    """OmniMedVQA. Its arguments are those of `PublishedSource`."""

    name = "omnimedvqa"
    splits = ("all",)
    card = Card(
        name="omnimedvqa",
        title="OmniMedVQA",
        home="https://github.com/OpenGVLab/Multi-Modality-Arena",
        repo="foreverbeliever/OmniMedVQA",
        revision="1ba51c28fc0773bdf7efb8396e5bcfd4227e22da",
        licence="that of each of the 73 data sets it is made from; see its page",
        citation=(
            "Hu et al., OmniMedVQA: A New Large-Scale Comprehensive Evaluation Benchmark for "
            "Medical LVLM, CVPR 2024 (arXiv 2402.09181)"
        ),
        splits={"all": SplitCounts(88_996, 82_059, origin="inferred")},
        files=(
            PublishedFile(
                "OmniMedVQA.zip",
                sha256="12245e0f99afbc7d6f70e4ca3c2e5a7979a01816cd8159ae34539f4aa76adee0",
            ),
        ),
        grouping="the image, by its path",
        layout="OmniMedVQA.zip, or the folder OmniMedVQA that it unpacks to",
        faults=(
            "no split is published; papers draw their own by question, so that images are shared",
            "of 127,995 items on its page, those of restricted data sets are dropped and counted: "
            "their images are not shipped",
            "modalities are written in several ways, and become DICOM codes",
            "the counts of the open items are others' counts of the published files",
        ),
    )

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        found = self.file(_TOP, f"{_TOP}.zip")

        def ref(name: str) -> ImageRef:
            return images.ref(name)

        items: list[Item] = []
        seen: set[str] = set()
        for name, rows in _sets(found):
            for number, row in enumerate(rows, start=1):
                if name.startswith(_ACCESS[1]):
                    items.append(replace(_LOCKED, file=name, number=number))
                    continue
                item = _item(row, name, number, ref)
                if item.key in seen:
                    item = replace(item, fault=f"an earlier item has its question_id {item.key!r}")
                seen.add(item.key)
                items.append(item)
        first_of_each = {item.file: item.group for item in reversed(items) if item.group}
        images = ImageFiles(found, first_of_each.values())
        return items

    def found_counts(self, split: str, loaded: RowCases[Item]) -> SplitCounts:
        """Rows and images of the items that are shipped."""
        there = [item for item in loaded.rows if item.fault != _LOCKED.fault]
        return SplitCounts(len(there), len({item.group for item in there}))


def _sets(found: Path) -> Iterator[tuple[str, list[Row]]]:
    """The file of each data set, by its access and name, and its items."""
    for name, text in _zipped(found) if found.is_file() else _unpacked(found):
        rows = text
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{name} of {found} is no list of items; fix: fetch it again")
        yield name, rows


def _unpacked(found: Path) -> Iterator[tuple[str, object]]:
    inside = found / _TOP if (found / _TOP).is_dir() else found
    folder = inside / "QA_information"
    paths = [path for access in _ACCESS for path in sorted((folder / access).glob("*.json"))]
    if not paths:
        raise UserError(f"{folder} has no Open-access/*.json; fix: unpack OmniMedVQA.zip again")
    for path in paths:
        yield f"{path.parent.name}/{path.name}", json_of(path)


def _zipped(found: Path) -> Iterator[tuple[str, object]]:
    archive, top = Archive(found), f"{_TOP}/QA_information/"
    names = [
        name
        for access in _ACCESS
        for name in sorted(archive.names())
        if name.startswith(f"{top}{access}/") and name.endswith(".json")
    ]
    if not names:
        raise UserError(f"{found} has no {top}Open-access/*.json; fix: fetch it again")
    for name in names:
        yield name.removeprefix(top), parsed(archive.content(name), f"{name!r} of {found}")


def _item(row: Row, name: str, number: int, ref: Callable[[str], ImageRef]) -> Item:
    place = f"row {number} of {name}"
    shown = sys.intern  # most questions and options are repeated thousands of times
    letters = [row.get(f"option_{letter}") for letter in "ABCD"]
    options = tuple(shown(each) for each in letters if isinstance(each, str) and each.strip())
    answer, path = field(row, "gt_answer", place), field(row, "image_path", place)
    if answer not in options:
        named = (each for each in options if normalised(each) == normalised(answer))
        answer = next(named, answer)
    data_set = name.rpartition("/")[2].removesuffix(".json")
    return Item(
        key=f"{data_set}/{row.get('question_id') or number}",
        file=name,
        number=number,
        group=path,
        images=(path,),
        ref=ref,
        question=shown(field(row, "question", place)),
        options=options,
        answer=shown(answer),
        modality=modality_code(str(row.get("modality_type") or row.get("modality") or "")),
        fault=ImageFiles.fault(path),
    )
