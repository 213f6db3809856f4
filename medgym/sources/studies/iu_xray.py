"""IU X-ray: chest radiographs with their reports, of Indiana University.

Two copies are in use, and both are read:

- The collection of the National Library of Medicine (split `all`): a report in each XML file of
  `ecgen-radiology/` (or of `NLMCXR_reports.tgz`, as it is), and the PNG files of `NLMCXR_png.tgz`,
  unpacked. It has no splits.
- The copy that most papers on reports use (splits `train`, `val`, `test`): `annotation.json` and
  `images/ID/0.png`, made by the authors of R2Gen from the first one.

Decisions:

- The gold of `all` is the findings and the impression, each under its heading; where one is blank,
  the other. The gold of the second copy is its field `report`, as it stands.
- Indication and comparison are what the radiologist knew: they are context. Headings (MeSH), and
  the captions of images are gold in other words: they are shown nowhere.
- "XXXX" stands for what was removed to protect the patient. It stays, in context and gold.
- A report without an image or without text makes no case, and is counted.
- The group is the report's number, such as CXR2384, in both copies. Patients are not published.
"""

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from medgym.cases import Case
from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.study import ImageRef
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.sources.studies.files import check_keys, read_json, text_of, within
from medgym.uris import file_uri

Row = dict[str, Any]

QUESTION = "Write the report of these chest radiographs: the findings, and the impression."
FINDINGS_QUESTION = "Write the findings of the report of these chest radiographs."
_COLLECTION = "https://openi.nlm.nih.gov/imgs/collections"
_SECTIONS = ("findings", "impression")
_KNOWN_BEFORE = ("indication", "comparison")


class IUXray(PublishedSource):
    """IU X-ray, the collection or the copy with splits.

    Args:
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "iu-xray"
    splits = ("all", "train", "val", "test")
    regrouped = ()  # no study is in two of train, val and test
    card = Card(
        name="iu-xray",
        title="IU X-ray (Indiana University chest X-ray collection, Open-i)",
        home="https://openi.nlm.nih.gov/faq#collection",
        repo=None,
        revision="the collection of 2014, and the copy of R2Gen (EMNLP 2020)",
        licence="open access on the terms of Open-i (National Library of Medicine); read them",
        citation="Demner-Fushman et al., Preparing a collection of radiology examinations for "
        "distribution and retrieval, JAMIA 23(2):304-310 (2016); the splits: Chen et al., "
        "Generating Radiology Reports via Memory-driven Transformer, EMNLP 2020",
        splits={
            "all": SplitCounts(3955, 7470, origin="card"),
            "train": SplitCounts(2069, 4138, origin="card"),
            "val": SplitCounts(296, 592, origin="card"),
            "test": SplitCounts(590, 1180, origin="card"),
        },
        files=(
            PublishedFile(
                "NLMCXR_reports.tgz", url=f"{_COLLECTION}/NLMCXR_reports.tgz", optional=True
            ),
            PublishedFile("NLMCXR_png.tgz", url=f"{_COLLECTION}/NLMCXR_png.tgz", optional=True),
            PublishedFile("ecgen-radiology/*.xml", optional=True),
            PublishedFile("annotation.json", optional=True),
        ),
        grouping="the report (CXR and its number); patients are not published",
        layout="all: NLMCXR_reports.tgz or ecgen-radiology/, and NLMCXR_png.tgz unpacked into "
        "NLMCXR_png/ or images/; train, val, test: annotation.json and images/",
        faults=(
            "what was removed to protect patients stands as XXXX, in two reports of five",
            "the counts are those of papers and of others who read the files, not our own",
            "whether a patient has two reports is not published",
            "the copy with splits has a link on a file host only, so it is not fetched: get it "
            "through github.com/zhjohnchan/R2Gen",
        ),
        leaks=(
            "the split all holds the studies of train, val and test; reports of normal studies "
            "repeat word for word across splits",
        ),
    )

    def load(self, split: str) -> RowCases[Row]:
        """See `PublishedSource.load`."""
        return self._collection() if split == "all" else self._annotated(split)

    def found_counts(self, split: str, loaded: RowCases[Row]) -> SplitCounts:
        """See `PublishedSource.found_counts`. Of `all`, the images that reports name."""
        images = {image for row in loaded.rows for image in row["images"]}
        return SplitCounts(len(loaded.rows), len(images))

    def _collection(self) -> RowCases[Row]:
        rows = [_report(name, data) for name, data in self._xml()]
        folder = self._png_folder()

        def make(row: Row) -> Case:
            gold = [f"{each.capitalize()}: {row[each]}" for each in _SECTIONS if row[each]]
            known = [f"{each.capitalize()}: {row[each]}" for each in _KNOWN_BEFORE if row[each]]
            return self._case(
                "all",
                row["id"],
                [folder / f"{image}.png" for image in row["images"]],
                QUESTION if len(gold) == 2 else QUESTION.split(":")[0] + ".",
                "\n".join(gold),
                "\n".join(known),
            )

        def fault(row: Row) -> str | None:
            if not row["findings"] and not row["impression"]:
                return "the report has neither findings nor an impression"
            return _image_fault(row["images"], folder)

        return RowCases(rows, make, lambda number: rows[number]["place"], fault)

    def _xml(self) -> Iterator[tuple[str, bytes]]:
        """The reports by file name, in the order of their numbers."""
        folder = next((f for f in (self.folder / "ecgen-radiology",) if f.is_dir()), None)
        if folder is not None:
            for path in sorted(folder.glob("*.xml"), key=_number):
                with open_regular(path, "report") as stream:
                    yield path.name, stream.read()
            return
        path = self.file("NLMCXR_reports.tgz", "ecgen-radiology")
        try:
            with tarfile.open(path) as archive:
                held = [member for member in archive if member.name.endswith(".xml")]
                for member in sorted(held, key=lambda each: _number(Path(each.name))):
                    file = archive.extractfile(member)
                    if file is not None:
                        yield Path(member.name).name, file.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(f"{path} is no whole archive ({error}); fix: fetch it again") from error

    def _png_folder(self) -> Path:
        for name in ("NLMCXR_png", "images"):
            if (self.folder / name).is_dir():
                return self.folder / name
        if any(self.folder.glob("CXR*.png")):
            return self.folder
        raise UserError(
            f"{self.folder} has no folder NLMCXR_png; fix: unpack the images there (mkdir "
            "NLMCXR_png; tar -xzf NLMCXR_png.tgz -C NLMCXR_png)"
        )

    def _annotated(self, split: str) -> RowCases[Row]:
        path = self.file("annotation.json", "iu_xray/annotation.json")
        held = check_keys(read_json(path, dict), (split,), str(path))[split]
        folder = path.parent / "images"
        rows = []
        for number, each in enumerate(held if isinstance(held, list) else ()):
            row = check_keys(each, ("id", "report", "image_path"), f"{split} {number} of {path}")
            images = row["image_path"]
            listed = images if isinstance(images, list) else [images]
            rows.append({"id": text_of(row["id"]), "report": row["report"], "images": listed})

        def make(row: Row) -> Case:
            paths = [within(folder, image) or folder for image in row["images"]]
            return self._case(
                split, row["id"], paths, FINDINGS_QUESTION, text_of(row["report"]), ""
            )

        def fault(row: Row) -> str | None:
            if not text_of(row["report"]):
                return "the report is blank"
            return _image_fault(row["images"], folder)

        return RowCases(rows, make, lambda n: f"{split} {n} of {path.name}", fault)

    def _case(
        self,
        split: str,
        key: str,
        images: Sequence[Path],
        question: str,
        answer: str,
        context: str,
    ) -> Case:
        return Case(
            id=f"iu-xray/{split}/{key}",
            images=tuple(ImageRef(uri=file_uri(path)) for path in images),
            question=question,
            context=context,
            answer=answer,
            answer_type="report",
            modality="DX",
            body_part="CHEST",
            group=key.partition("_")[0],
            source=self.name,
            split=split,
            licence=self.card.licence,
        )


def _report(name: str, data: bytes) -> Row:
    """What an XML file holds: its id, its sections, the names of its images."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise UserError(f"{name} is no whole report ({error}); fix: fetch it again") from error
    said = {
        text_of(part.get("Label")).lower(): text_of("".join(part.itertext()))
        for part in root.iter("AbstractText")
    }
    number = next((text_of(each.get("id")) for each in root.iter("uId")), "")
    return {
        "id": number or f"CXR{Path(name).stem}",
        "place": name,
        "images": [text_of(each.get("id")) for each in root.iter("parentImage")],
        **{each: said.get(each, "") for each in (*_SECTIONS, *_KNOWN_BEFORE)},
    }


def _image_fault(images: Sequence[Any], folder: Path) -> str | None:
    if not images:
        return "it has no image"
    wrong = [image for image in images if within(folder, image) is None]
    return f"the image {wrong[0]!r} names no file in {folder.name}" if wrong else None


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(each for each in path.stem if each.isdecimal())
    return int(digits or 0), path.name
