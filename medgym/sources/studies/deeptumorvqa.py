"""DeepTumorVQA 2.0: questions about tumours in abdominal CT volumes, as a choice of four.

Splits: `benchmark` (10,000 questions on 991 CTs) and `train` (428,050 on 8,334). Images, by the
option `images`:

- `ct` (the default): the volume as NIfTI, in the published window (level 50, width 400). A case
  starts in the middle of the axial plane. The CTs of `train` are not in the repository, but in
  AbdomenAtlas3.0Mini; put them into `train/ct/ID/ct.nii.gz`.
- `png`: the published picture of one slice. `mp4`: the published clip; it starts at frame 0.

Decisions:

- Options stand in `mc_question`, after the question, as " A: ... B: ... C: ... D: ...". They are
  cut out there, and the question is shown once. The gold is the text of `correct_option`. Where
  `answer` is the text of another option, the two contradict each other and the row is dropped.
- `train/val_qa_pool.csv` is refused: the benchmark was drawn from it. To validate, hold out CTs of
  `train`.
- Spacing and shape are texts as numpy prints them, "[0.83 0.83 5.0]" and "(512, 512, 116)".
- Sex, age, scanner and contrast are context where they are known; null is left out. The organ, the
  type of a question and the tools that it needs are not shown.
- `agent_sft/*.jsonl` are no cases, but recorded uses of tools: `traces` reads them.
- The authors also score free answers, numbers within a tolerance. That is not offered: a volume in
  cubic centimetres would have to be met exactly.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from medgym.cases import LETTERS, Case, CaseKey, normalised
from medgym.errors import UserError, unknown
from medgym.files import open_regular
from medgym.imaging.grey import Window
from medgym.imaging.nifti.study import NiftiStudy
from medgym.imaging.study import ImageRef, ImagingStudy
from medgym.sources.arrow_rows import ArrowRows
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases
from medgym.sources.studies.array_uris import array_path, array_uri
from medgym.sources.studies.deeptumorvqa_traces import ToolTrace, read_traces
from medgym.sources.studies.deeptumorvqa_train import NUMBER, suspects, train_rows
from medgym.sources.studies.files import check_keys, read_json, read_json_lines, text_of
from medgym.uris import file_uri

Row = Mapping[str, Any]

IMAGES = ("ct", "png", "mp4")
WINDOW = Window(50, 400)
_NEEDED = ("image_id", "question", "mc_question", "correct_option")
_CONTEXT = (("sex", "Sex"), ("age", "Age"), ("contrast", "Contrast"), ("scanner", "Scanner"))
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NAME = re.compile(r"\w[\w.-]*")
_POOLS = ("val", "validation", "val-pool", "val_pool", "val_qa_pool")
_TRACES = {"agent-sft": "train", "agent_sft": "train", "holdout": "holdout"}


class CTVolume(NiftiStudy):
    """A CT of Hounsfield units in a NIfTI file, which says neither that nor a window."""

    modality = "CT"
    unit = "HU"

    def own_window(self) -> Window:
        """The window in which the authors show it."""
        return super().own_window() or WINDOW


class DeepTumorVQA(PublishedSource):
    """DeepTumorVQA 2.0.

    Args:
        images: `ct`, `png` or `mp4`.
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "deeptumorvqa"
    splits = ("benchmark", "train")
    card = Card(
        name="deeptumorvqa",
        title="DeepTumorVQA 2.0",
        home="https://github.com/Schuture/DeepTumorVQA",
        repo="tumor-vqa/DeepTumorVQA_2.0",
        revision="main",
        licence="annotations CC BY 4.0; CTs and what was made of them: the terms of their sources "
        "(AbdomenAtlas3.0Mini)",
        citation="Chen et al., Are Vision Language Models Ready for Clinical Diagnosis? A 3D "
        "Medical Benchmark for Tumor-centric Visual Question Answering, arXiv:2505.18915 (2025)",
        splits={
            "benchmark": SplitCounts(
                10_000,
                991,
                {
                    "recognition": 2023,
                    "measurement": 2023,
                    "visual reasoning": 4049,
                    "medical reasoning": 1905,
                },
            ),
            "train": SplitCounts(428_050, 8334, origin="card"),
        },
        files=(
            PublishedFile("benchmark/test_qa.json"),
            PublishedFile("benchmark/test_qa.jsonl", optional=True),
            PublishedFile("benchmark/ct/*/ct.nii.gz", optional=True),
            PublishedFile("benchmark/images_2d/whole/*.png", optional=True),
            PublishedFile("benchmark/videos/whole/*.mp4", optional=True),
            PublishedFile("train/train_qa.csv", optional=True),
            PublishedFile("train/images_2d/whole/*.png", optional=True),
            PublishedFile("train/videos/whole/*.mp4", optional=True),
            PublishedFile("agent_sft/*.jsonl", optional=True),
        ),
        grouping="the CT (`image_id`)",
        layout="benchmark/, train/ and agent_sft/ as in the repository; the CTs are 70 GB, the "
        "pictures 0.7 GB, the clips 3.9 GB",
        faults=(
            "options are printed inside mc_question: they are cut out of it",
            "train/val_qa_pool.csv holds the benchmark's questions: it is refused",
            "the columns of train_qa.csv were not read, only those of the benchmark: a copy with "
            "others is refused by the name of the column",
            "the revision is not pinned: no commit was read",
        ),
        leaks=(
            "train has 8,334 CTs and benchmark 991, and the release counts 9,257 different ones: "
            "up to 68 may be in both (inferred)",
        ),
    )

    def __init__(
        self, images: str = "ct", data: str | None = None, counts: str = "published"
    ) -> None:
        if images not in IMAGES:
            raise unknown("images of deeptumorvqa", images, IMAGES)
        self.images = images
        super().__init__(data, counts)

    def split_error(self, split: str) -> UserError:
        """Says why there is no validation split, and how traces are read."""
        if split in _POOLS:
            return UserError(
                f"deeptumorvqa:{split} is refused: the benchmark was drawn from val_qa_pool.csv, "
                "so a policy that is chosen on it has seen the test; fix: hold out CTs of "
                "deeptumorvqa:train by their group"
            )
        if split in _TRACES:
            return UserError(
                f"deeptumorvqa:{split} holds recorded uses of tools, and no cases; fix: read them "
                f"with DeepTumorVQA(data=...).traces({_TRACES[split]!r})"
            )
        return super().split_error(split)

    def load(self, split: str) -> RowCases[Row]:
        """See `PublishedSource.load`."""
        rows: Sequence[Row]
        looked_at: Iterable[int] | None = None
        if split == "benchmark":
            path = self.file("benchmark/test_qa.json", "benchmark/test_qa.jsonl")
            rows = self._benchmark(path)
        else:
            path = self.file("train/train_qa.csv")
            rows = train = train_rows(path, _NEEDED)
            looked_at = suspects(train.table)

        def make(row: Row) -> Case:
            return self._case(split, row)

        def key(row: Row) -> CaseKey:
            return CaseKey(_id(split, row), self.name, text_of(row["image_id"]))

        def place(number: int) -> str:
            return f"row {number} of {path.name}"

        return RowCases(rows, make, place, fault_of, suspects=looked_at, key=key)

    def found_counts(self, split: str, loaded: RowCases[Row]) -> SplitCounts:
        """See `PublishedSource.found_counts`."""
        rows = loaded.rows
        if isinstance(rows, ArrowRows):
            return SplitCounts(len(rows), len(rows.table["image_id"].unique()))
        kinds = (text_of(row.get("question_type")) for row in rows)
        types = counted(kind.replace("_", " ").casefold() for kind in kinds)
        return SplitCounts(len(rows), len({row["image_id"] for row in rows}), types)

    def traces(self, part: str) -> Iterator[ToolTrace]:
        """The recorded uses of tools: 20,000 in `train` and in `holdout` each.

        Raises:
            UserError: there are none, or a line cannot be read.
        """
        if part not in ("train", "holdout"):
            raise unknown("traces of deeptumorvqa", part, ("train", "holdout"))
        return read_traces(self.file(f"agent_sft/{part}.jsonl"))

    def _benchmark(self, path: Path) -> Sequence[Row]:
        if path.suffix == ".jsonl":
            rows = list(read_json_lines(path))
        else:
            held = check_keys(read_json(path, dict), ("questions", "num_questions"), str(path))
            rows = held["questions"]
            if not isinstance(rows, list) or len(rows) != held["num_questions"]:
                raise UserError(
                    f"{path} says that it has {held['num_questions']!r} questions, and has "
                    f"{len(rows) if isinstance(rows, list) else 'no list'}; fix: fetch it again"
                )
        for number, row in enumerate(rows):
            place = f"row {number} of {path}"
            if not text_of(check_keys(row, ("qid", *_NEEDED), place)["qid"]):
                raise UserError(f"{place} has a blank 'qid'; fix: fetch it again")
        return rows

    def _case(self, split: str, row: Row) -> Case:
        options = options_of(row) or ()
        return Case(
            id=_id(split, row),
            images=(self._image(split, row),),
            question=text_of(row["question"]),
            options=options,
            context=context_of(row),
            answer=options[LETTERS.index(text_of(row["correct_option"]))],
            answer_type="choice",
            modality="CT",
            body_part="ABDOMEN",
            group=text_of(row["image_id"]),
            source=self.name,
            split=split,
            licence=self.card.licence,
        )

    def _image(self, split: str, row: Row) -> ImageRef:
        name = text_of(row["image_id"])
        if self.images == "png":
            return ImageRef(uri=file_uri(self.folder / split / "images_2d/whole" / f"{name}.png"))
        if self.images == "mp4":
            path = self.folder / split / "videos/whole" / f"{name}.mp4"
            return ImageRef(uri=file_uri(path), plane="frame", index=0)
        path = self.folder / split / "ct" / name / "ct.nii.gz"
        sides = numbers_of(row.get("shape"))
        middle = int(sides[2]) // 2 if len(sides) == 3 else 0
        uri = array_uri(self.name, file_uri(path))
        return ImageRef(uri=uri, plane="axial", index=middle)

    @classmethod
    def open_image(cls, ref: ImageRef) -> ImagingStudy:
        """See `Source.open_image`: a CT, in the published window."""
        path = array_path(cls.name, ref.uri)
        if path.parent.parent.name == "ct" and not path.exists():
            raise UserError(
                f"no such CT: {path}; fix: fetch benchmark/ct, take the CTs of train from "
                "AbdomenAtlas3.0Mini, or write deeptumorvqa,images=png"
            )
        with open_regular(path, "image") as stream:
            return CTVolume(stream, path, ref.series)


def _id(split: str, row: Row) -> str:
    return f"deeptumorvqa/{split}/{text_of(row.get('qid')) or format(row[NUMBER], '06d')}"


def options_of(row: Row) -> tuple[str, ...] | None:
    """The options that stand in `mc_question`, after the question; None where there are none."""
    text, question = text_of(row["mc_question"]), text_of(row["question"])
    text = text.removeprefix(question)
    places: list[tuple[int, int]] = []
    for letter in LETTERS:
        start = places[-1][1] if places else 0
        found = re.compile(rf"(?:^|\s){letter}:(?=\s)").search(text, start)
        if found is None:
            break
        places.append(found.span())
    if len(places) < 2:
        return None
    ends = [start for start, _ in places[1:]] + [len(text)]
    options = tuple(text[end:stop].strip() for (_, end), stop in zip(places, ends, strict=True))
    return options if all(options) else None


def fault_of(row: Row) -> str | None:
    """Why a row makes no case; None where it makes one."""
    if not text_of(row["question"]):
        return "the question is blank"
    if not _NAME.fullmatch(text_of(row["image_id"])):
        return f"the image_id {row['image_id']!r} is no name of a CT"
    options = options_of(row)
    if options is None:
        return "mc_question has no options 'A: ... B: ...'"
    letter = text_of(row["correct_option"])
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        return f"the correct option {letter!r} is none of {LETTERS[: len(options)]}"
    gold = options[LETTERS.index(letter)]
    said = normalised(text_of(row.get("answer")))
    if said != normalised(gold) and said in map(normalised, options):
        return f"the correct option is {letter} ({gold!r}), and the answer {row['answer']!r}"
    return None


def numbers_of(text: object) -> tuple[float, ...]:
    """The numbers of a tuple or an array that numpy printed."""
    found = (float(number) for number in _NUMBER.findall(text_of(text)))
    return tuple(number for number in found if math.isfinite(number))


def context_of(row: Row) -> str:
    """What is known of the patient and the scan."""
    known = [f"{said}: {text_of(row.get(key))}" for key, said in _CONTEXT if text_of(row.get(key))]
    spacing, shape = numbers_of(row.get("spacing")), numbers_of(row.get("shape"))
    if len(spacing) == 3:
        known.append("Voxels: " + " x ".join(f"{side:g}" for side in spacing) + " mm")
    if len(shape) == 3:
        known.append("Volume: " + " x ".join(f"{side:g}" for side in shape) + " voxels")
    return ". ".join(known) + "." if known else ""
