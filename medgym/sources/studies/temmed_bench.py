"""TemMed-Bench: what changed between a patient's last visit and the current one.

Only the questions are published. The images are those of CheXpert Plus, which its owners give to
those who sign for them: `PNG/` of that set belongs beside the JSON files.

Splits, all of the same test pairs, so that none of them may train a policy that another one judges:

- `vqa`: every yes/no question about a pair of images.
- `vqa-2000`: the 2,000 of them that the authors selected; results are published on these.
- `report`: the impression of the current visit. It needs `TestSet_VQA_ReportGeneration_Final.json`,
  which the authors' notebook makes of the published file and the reports of CheXpert Plus.
- `pairs`: which of three pairs matches a statement.
- `train`: reports of the knowledge corpus, from `TrainSet_KnowledgeCorpus_Final.json`.

Decisions:

- A path that ends in `.jpg` stands for the `.png` file of the same name. Only the end of the name
  is replaced: a folder that has "jpg" in its name keeps it.
- The image of the last visit comes first and has the role `prior`. Of three pairs, all six images
  are shown, two for each pair.
- `reference_*` fields and the corpus are for retrieval. They reach no question and no context.
- A pair's group is its patient; the group of three pairs is all three patients.
"""

import re
from pathlib import Path
from typing import Any, ClassVar

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource, counted
from medgym.sources.rows import RowCases
from medgym.sources.studies.files import check_keys, read_json, text_of, within
from medgym.uris import file_uri

Row = dict[str, Any]

_IMAGES = ("image_path", "historical_image_path")
_VISITS = "The first image is from the patient's last visit, and the second is from the current one"
_LETTERS = ("A", "B", "C")
_PATIENT = re.compile(r"patient\d+")


class TemMedBench(PublishedSource):
    """TemMed-Bench, of a folder that has its JSON files and CheXpert Plus's `PNG`.

    Args:
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "temmed-bench"
    splits = ("vqa", "vqa-2000", "report", "pairs", "train")
    regrouped = ()  # they ask different things of the same pairs
    card = Card(
        name="temmed-bench",
        title="TemMed-Bench: temporal reasoning over chest radiographs",
        home="https://temmedbench.github.io",
        repo="uclanlp/TemMed-Bench",
        revision="main",
        licence="CC BY 4.0 (JSON files); images: Stanford University Dataset Research Use "
        "Agreement of CheXpert Plus",
        citation="Zhang et al., TemMed-Bench: Evaluating Temporal Medical Image Reasoning in "
        "Vision-Language Models, arXiv:2509.25143 (2025)",
        splits={
            "vqa": SplitCounts(None),
            "vqa-2000": SplitCounts(2000),
            "report": SplitCounts(None),
            "pairs": SplitCounts(None),
            "train": SplitCounts(None),
        },
        files=(
            PublishedFile("TestSet_VQA_ReportGeneration.json"),
            PublishedFile("TestSet_SelectedVQA_2000.json"),
            PublishedFile("TestSet_ImagePairSelection.json"),
            PublishedFile("TrainSet_KnowledgeCorpus.json", optional=True),
        ),
        grouping="the patient; of three pairs, their three patients",
        layout="the JSON files of the repository, and PNG/ of CheXpert Plus beside them",
        faults=(
            "paths end in .jpg where the files are .png: the end of the name is replaced",
            "the repository has no images and no reports: both come from CheXpert Plus",
            "its pages name 862 and 1,000 test pairs, so the counts of vqa, report and pairs are "
            "not held to any",
            "the revision is not pinned: no commit was read",
        ),
        leaks=(
            "vqa, vqa-2000, report and pairs ask about the same test pairs, so none may train a "
            "policy that another one judges",
        ),
    )

    def load(self, split: str) -> RowCases[Row]:
        """See `PublishedSource.load`."""
        self._images = self._image_folder()
        if split == "pairs":
            return self._pairs()
        if split in ("report", "train"):
            return self._reports(split)
        return self._questions(split)

    def found_counts(self, split: str, loaded: RowCases[Row]) -> SplitCounts:
        """See `PublishedSource.found_counts`."""
        if not split.startswith("vqa"):
            return SplitCounts(len(loaded.rows))
        types = counted(text_of(row["question"]["VQA_answer"]) for row in loaded.rows)
        return SplitCounts(len(loaded.rows), types=types)

    def _image_folder(self) -> Path:
        for name in ("PNG", "CheXpertPlus/PNG"):
            if (self.folder / name).is_dir():
                return self.folder / name
        raise UserError(
            f"{self.folder} has no PNG folder: TemMed-Bench's images are CheXpert Plus's; fix: get "
            "them from Stanford AIMI (search for CheXpert Plus), and put or link its PNG folder "
            "there"
        )

    def _entries(self, *names: str) -> list[Any]:
        path = self.file(*(each for name in names for each in _either(name)))
        rows: list[Any] = read_json(path, list)
        for number, row in enumerate(rows):
            check_keys(row, _IMAGES, f"entry {number} of {path}")
        return rows

    def _questions(self, split: str) -> RowCases[Row]:
        name = "TestSet_VQA_ReportGeneration"
        pairs = self._entries(f"{name}.json", f"{name}_Final.json")
        places = []
        for at, pair in enumerate(pairs):
            asked = check_keys(pair, ("VQA_Final",), f"entry {at} of {name}.json")["VQA_Final"]
            if not isinstance(asked, list):
                raise UserError(
                    f"entry {at} of {name}.json has no list as 'VQA_Final'; fix: fetch it again"
                )
            places += [(at, of) for of in range(len(asked))]
        if split == "vqa-2000":
            known = set(places)
            path = self.file(*_either("TestSet_SelectedVQA_2000.json"))
            places = []
            for number, each in enumerate(read_json(path, list)):
                check_keys(each, ("img_id", "question_id"), f"entry {number} of {path}")
                place = each["img_id"], each["question_id"]
                if not all(isinstance(part, int) for part in place) or place not in known:
                    raise UserError(
                        f"entry {number} of {path} names the question {place[1]!r} of pair "
                        f"{place[0]!r}, which {name}.json does not have; fix: fetch both again"
                    )
                places.append(place)
        rows = []
        for at, of in places:
            said = f"question {of} of entry {at} of {name}.json"
            asked = check_keys(pairs[at]["VQA_Final"][of], ("VQA_question", "VQA_answer"), said)
            rows.append({"at": at, "of": of, "pair": pairs[at], "question": asked})

        def make(row: Row) -> Case:
            return self._case(
                split,
                f"{row['at']:04d}-{row['of']:02d}",
                self._shown(row["pair"]),
                f"{_VISITS}. {text_of(row['question']['VQA_question'])} Answer with Yes or No.",
                text_of(row["question"]["VQA_answer"]),
                [row["pair"]],
                answer_type="closed",
            )

        def fault(row: Row) -> str | None:
            answer = text_of(row["question"].get("VQA_answer"))
            if answer.casefold() not in ("yes", "no"):
                return f"the answer {answer!r} is neither Yes nor No"
            if not text_of(row["question"].get("VQA_question")):
                return "the question is blank"
            return self._fault([row["pair"]])

        return RowCases(
            rows,
            make,
            lambda n: f"question {rows[n]['of']} of entry {rows[n]['at']} of {name}.json",
            fault,
        )

    def _reports(self, split: str) -> RowCases[Row]:
        name = "TrainSet_KnowledgeCorpus" if split == "train" else "TestSet_VQA_ReportGeneration"
        if not any((self.folder / each).exists() for each in _either(f"{name}_Final.json")):
            raise UserError(
                f"{self.folder} has no {name}_Final.json, and {name}.json has no reports: they are "
                "CheXpert Plus's; fix: make it with the notebook in Get_Data of "
                "github.com/Levi-ZJY/TemMed-Bench from df_chexpert_plus_240401.csv"
            )
        rows = self._entries(f"{name}_Final.json")

        def make(row: Row) -> Case:
            return self._case(
                split,
                f"{row['number']:05d}",
                self._shown(row),
                f"{_VISITS}. Write the impression of the report on the current visit, with what "
                "changed since the last one.",
                text_of(row.get("condition_changes_report")),
                [row],
                answer_type="report",
            )

        numbered = [{**row, "number": number} for number, row in enumerate(rows)]

        def fault(row: Row) -> str | None:
            if not text_of(row.get("condition_changes_report")):
                return "the report is blank"
            return self._fault([row])

        return RowCases(numbered, make, lambda n: f"entry {n} of {name}_Final.json", fault)

    def _pairs(self) -> RowCases[Row]:
        name = "TestSet_VQA_ReportGeneration"
        pairs = self._entries(f"{name}.json", f"{name}_Final.json")
        path = self.file(*_either("TestSet_ImagePairSelection.json"))
        rows = []
        for number, row in enumerate(read_json(path, list)):
            place = f"entry {number} of {path}"
            check_keys(row, ("right_option", "condition_change", "option"), place)
            option = check_keys(row["option"], _LETTERS, place)
            at = [option[letter] for letter in _LETTERS]
            if not all(isinstance(each, int) and 0 <= each < len(pairs) for each in at):
                raise UserError(
                    f"{place} names the pairs {at}, and {name}.json has {len(pairs):,}; fix: fetch "
                    "both again"
                )
            rows.append({**row, "number": number, "of": [pairs[each] for each in at]})
        options = tuple(f"pair {letter}" for letter in _LETTERS)

        def make(row: Row) -> Case:
            right = text_of(row["right_option"])
            statement = text_of(row["condition_change"])
            return self._case(
                "pairs",
                f"{row['number']:04d}",
                tuple(image for pair in row["of"] for image in self._shown(pair)),
                "These are three pairs of chest radiographs, each of one patient: images 0 and 1 "
                "are pair A, images 2 and 3 are pair B, images 4 and 5 are pair C. The first image "
                "of a pair is from the last visit, and the second is from the current one. Which "
                f"pair shows this change: {statement}",
                f"pair {right}",
                row["of"],
                options=options,
                answer_type="choice",
            )

        def fault(row: Row) -> str | None:
            if text_of(row["right_option"]) not in _LETTERS:
                return f"the right option {row['right_option']!r} is none of A, B and C"
            if not text_of(row["condition_change"]):
                return "the statement is blank"
            return self._fault(row["of"])

        return RowCases(rows, make, lambda n: f"entry {n} of {path.name}", fault)

    def _case(
        self,
        split: str,
        key: str,
        images: tuple[ImageRef, ...],
        question: str,
        answer: str,
        pairs: list[Row],
        **more: Any,
    ) -> Case:
        return Case(
            id=f"temmed-bench/{split}/{key}",
            images=images,
            question=question,
            answer=answer,
            modality="DX",
            body_part="CHEST",
            group="+".join(sorted({_patient(pair) for pair in pairs})),
            source=self.name,
            split=split,
            licence=self.card.licence,
            **more,
        )

    def _shown(self, pair: Row) -> tuple[ImageRef, ImageRef]:
        now, before = (within(self._images, png(text_of(pair[key]))) for key in _IMAGES)
        return (
            ImageRef(uri=file_uri(before or ""), role="prior"),
            ImageRef(uri=file_uri(now or ""), role="current"),
        )

    def _fault(self, pairs: list[Row]) -> str | None:
        for pair in pairs:
            for key in _IMAGES:
                if within(self._images, text_of(pair[key])) is None:
                    return f"{key} {pair[key]!r} names no file in {self._images.name}"
        return None


def png(path: str) -> str:
    """The file that a published path stands for: only the end of its name is replaced."""
    return path.removesuffix(".jpg") + ".png" if path.endswith(".jpg") else path


def _either(name: str) -> tuple[str, str]:
    return name, f"Get_Data/{name}"


def _patient(pair: Row) -> str:
    path = text_of(pair["image_path"])
    found = _PATIENT.search(path)
    return found[0] if found else path
