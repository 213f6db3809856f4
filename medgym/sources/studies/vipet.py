"""ViPET-ReportGen: Vietnamese reports on whole-body PET/CT (the data set ViMed-PET).

What is read is the copy of one table: `metadata.csv` with the columns name, sex, height, weight,
year, pet_path, ct_path, report_path and report_en_path; volumes as .npz files with the array
`data`, or as .npy files, (slices, rows, columns); reports as JSON files. The authors' own parts on
the Hub (Duc2305/ViMed-PET-part2, dacthai2k/ViMed-PET-part3) have the same volumes as .npy files and
tables with other columns (id, ct_img_path, pet_img_path, report_path): both tables are read.

Decisions:

- The gold is the whole report: each section under its published heading, the description of the
  image before the conclusion. A section that is blank is left out, and a report without any is
  dropped and counted.
- `language=vi` (the default) reads `report_path`; `language=en` reads `report_en_path`. Who
  translated these is not published.
- Each case shows two images, the CT and the PET, in that order. Neither spacing nor orientation is
  published, so there is only the plane along the slices, called `axial`, and no millimetres. A case
  starts in its middle. CT is shown in the window 40/400, PET from its least to its greatest value
  in a slice: its numbers are no SUV.
- Names such as patient_195 occur again in another year. The group is the year and the name; that
  the same name is another patient each time is what the authors' text says, and not proven.
- Splits: `all`, and `train`, `val`, `test` by months, as the paper describes them and others
  programmed them: of 2017 and 2019 November is val and December is test; of 2018 and 2023 October
  is val, November and December are test. Their counts are not published.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from medgym.cases import Case
from medgym.errors import UserError, unknown
from medgym.files import read_text
from medgym.imaging.grey import Window
from medgym.imaging.study import ImageRef, ImagingStudy
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.sources.studies.array_study import ArrayStudy
from medgym.sources.studies.array_uris import array_path, array_uri
from medgym.sources.studies.arrays import own_array, shape_of
from medgym.sources.studies.files import check_keys, read_json, text_of, within
from medgym.uris import file_uri

Row = Mapping[str, str]

LANGUAGES = ("vi", "en")
QUESTIONS = {
    "vi": "Hãy viết báo cáo PET/CT này bằng tiếng Việt: mô tả hình ảnh (đầu - cổ, lồng ngực, "
    "ổ bụng - khung chậu, hệ cơ - xương) và nhận định kết quả.",
    "en": "Write the report of this PET/CT: the description of the images (head and neck, chest, "
    "abdomen and pelvis, bones and muscles), and the conclusion.",
}
_CONTEXT = {
    "vi": (("sex", "Giới tính"), ("height", "Chiều cao (m)"), ("weight", "Cân nặng (kg)")),
    "en": (("sex", "Sex"), ("height", "Height (m)"), ("weight", "Weight (kg)")),
}
_DESCRIPTION = "Mô tả hình ảnh"
_MONTH = re.compile(r"THANG (\d+)")
_YEAR = re.compile(r"PETCT_?(\d{4})")
_HELD_OUT = {
    "2017": ((11,), (12,)),
    "2018": ((10,), (11, 12)),
    "2019": ((11,), (12,)),
    "2023": ((10,), (11, 12)),
}
"""The months of val and of test, by year."""

_NAMES = {"ct_img_path": "ct_path", "pet_img_path": "pet_path"}
_CT = Window(40, 400)


class ViPET(PublishedSource):
    """ViMed-PET.

    Args:
        language: of the reports: `vi` or `en`.
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "vipet-reportgen"
    splits = ("all", "train", "val", "test")
    regrouped = ("train", "val", "test")
    card = Card(
        name="vipet-reportgen",
        title="ViPET-ReportGen (ViMed-PET): Vietnamese PET/CT reports",
        home="https://openreview.net/forum?id=OSnh4DmGx9",
        repo="thainamhoang/ViMed-PET-CT",
        revision="main",
        licence="CC BY-NC-SA 4.0",
        citation="Nguyen et al., Toward a Vision-Language Foundation Model for Medical Data: "
        "Multimodal Dataset and Benchmarks for Vietnamese PET/CT Report Generation, NeurIPS 2025 "
        "(Datasets and Benchmarks), arXiv:2509.24739",
        splits={
            "all": SplitCounts(2757, origin="card"),
            "train": SplitCounts(None),
            "val": SplitCounts(None),
            "test": SplitCounts(None),
        },
        files=(
            PublishedFile("metadata.csv"),
            PublishedFile("PETCT*/*/reports/*.json"),
            PublishedFile("PETCT*/*/reports_en/*.json", optional=True),
            PublishedFile("PETCT*/*/CT/*", optional=True),
            PublishedFile("PETCT*/*/PET/*", optional=True),
        ),
        grouping="the year and the patient's name there",
        layout="metadata.csv, and PETCT<YEAR>/THANG <MONTH>/{CT,PET,reports,reports_en}/ as it "
        "names them (205 GB)",
        faults=(
            "this layout was seen in programs that read it, not in the files: a copy with other "
            "columns is refused by name",
            "which of the copies on the Hub is the authors' is not proven, and the revision is not "
            "pinned",
            "others counted 27 reports without a conclusion and one without a description",
            "volumes have no spacing and no orientation, and PET is not in SUV",
        ),
        leaks=(
            "others found reports that repeat word for word in two splits (3 texts, 8 studies, in "
            "splits of their own)",
        ),
    )

    def __init__(
        self, language: str = "vi", data: str | None = None, counts: str = "published"
    ) -> None:
        if language not in LANGUAGES:
            raise unknown("language of vipet-reportgen", language, LANGUAGES)
        self.language = language
        super().__init__(data, counts)

    def load(self, split: str) -> RowCases[Row]:
        """See `PublishedSource.load`."""
        path = self.file("metadata.csv")
        column = "report_path" if self.language == "vi" else "report_en_path"
        rows = [
            row
            for row in _table(path, ("ct_path", "pet_path", column))
            if split in ("all", split_of(row))
        ]

        def make(row: Row) -> Case:
            return self._case(split, row, self._report(row[column], path) or "")

        def fault(row: Row) -> str | None:
            for key in ("ct_path", "pet_path"):
                if within(self.folder, row[key]) is None:
                    return f"{key} {row[key]!r} names no file in {self.folder.name}"
            return None if self._report(row[column], path) else "the report is blank"

        return RowCases(
            rows, make, lambda number: f"row {rows[number]['row']} of {path.name}", fault
        )

    def _report(self, name: str, table: Path) -> str | None:
        path = within(self.folder, name)
        if path is None:
            return None
        if not path.exists():
            raise UserError(
                f"{table} names the report {name}, which is not there; fix: fetch the reports "
                "(medgym cases get vipet-reportgen)"
            )
        held = read_json(path, dict)
        parts = sorted(held, key=lambda each: str(each) != _DESCRIPTION)
        return "\n".join(line for part in parts for line in _lines(str(part), held[part]))

    def _case(self, split: str, row: Row, report: str) -> Case:
        known = [
            f"{said}: {text_of(row.get(key))}"
            for key, said in _CONTEXT[self.language]
            if text_of(row.get(key))
        ]
        year, name = year_of(row), text_of(row.get("name")) or Path(row["ct_path"]).stem
        return Case(
            id=f"vipet-reportgen/{split}/{self.language}-{Path(row['ct_path']).with_suffix('')}",
            images=tuple(self._image(row[key]) for key in ("ct_path", "pet_path")),
            question=QUESTIONS[self.language],
            context="; ".join(known),
            answer=report,
            answer_type="report",
            modality="PT",
            language=self.language,
            group=f"{year}-{name}" if year else name,
            source=self.name,
            split=split,
            licence=self.card.licence,
        )

    def _image(self, name: str) -> ImageRef:
        path = self.folder / name
        try:
            middle = shape_of(path, "data")[0] // 2
        except UserError:
            middle = 0  # opening it says what is wrong
        uri = array_uri(self.name, file_uri(path))
        return ImageRef(uri=uri, member="data", plane="axial", index=middle)

    @classmethod
    def open_image(cls, ref: ImageRef) -> ImagingStudy:
        """See `Source.open_image`: a volume, CT or PET by the folder that it is in."""
        path = array_path(cls.name, ref.uri)
        values = own_array(path, ref.member or "data")
        if values.ndim != 3 or values.dtype.kind not in "uif":
            raise UserError(
                f"{path} holds an array of shape {values.shape}, and no volume; fix: fetch it again"
            )
        if path.parent.name == "CT":
            return ArrayStudy(str(path), values, {"axial": 0}, "CT", _CT, "HU")
        return ArrayStudy(str(path), values, {"axial": 0}, "PT")


def year_of(row: Row) -> str:
    """The year of a study, of its row or of its folder; empty where neither says it."""
    found = _YEAR.search(row["pet_path"])
    return text_of(row.get("year")).partition(".")[0] or (found[1] if found else "")


def split_of(row: Row) -> str | None:
    """The split of a study, by its year and month; None where they are unknown."""
    month, held_out = _MONTH.search(row["pet_path"]), _HELD_OUT.get(year_of(row))
    if month is None or held_out is None:
        return None
    at = int(month[1])
    return "val" if at in held_out[0] else "test" if at in held_out[1] else "train"


def _table(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff")), strict=True)
        for number, row in enumerate(reader):
            named = {_NAMES.get(key, key): text_of(value) for key, value in row.items() if key}
            yield {**check_keys(named, needed, str(path)), "row": str(number)}
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file ({error}); fix: fetch it again") from error


def _lines(heading: str, held: Any) -> Iterator[str]:
    """The lines of a section, those of its parts under it."""
    if isinstance(held, dict):
        below = [line for part, text in held.items() for line in _lines(str(part), text)]
        if below:
            yield f"{heading}:"
            yield from below
    elif text_of(held):
        yield f"{heading}: {' '.join(text_of(held).split())}"
