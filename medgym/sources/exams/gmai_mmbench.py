"""GMAI-MMBench, VAL: questions about images of 38 modalities, in one table of 9 GB.

What was ambiguous, and how it is decided here:

- Images stand in the table itself, as base64. The table is read once, row by row, to find where
  each image is; the places are kept beside it in `GMAI-MMBench_VAL.tsv.index.json`, if that can be
  written. An image is read from its place when it is opened.
- The base64 may be quoted, and an image may be the index of another row that holds it.
- Options may be fewer than five: an empty one is none. The gold is the text of its letter.
- Rows of one image are one group, by what the image holds.
- TEST has no published answers, and is not read.
"""

import base64
import binascii
import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgym.errors import RunError, UserError
from medgym.files import open_regular
from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.study import ImageRef, open_bytes
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.exams.exam import Exam, Item
from medgym.sources.exams.files import field
from medgym.sources.exams.modalities import modality_code
from medgym.sources.exams.tsv import read_span, table_rows
from medgym.storage.atomic import write_atomic
from medgym.uris import file_path, file_uri

_FILE = "GMAI-MMBench_VAL.tsv"
_IMAGE = "image"
_LETTERS = "ABCDE"
_URI = re.compile(r"gmai-mmbench:(\d{1,18})\+(\d{1,18})@(file:.+)")
_KEPT = {"number", "texts", "offset", "length", "digest"}
"""What the index has of a row."""


class GmaiMMBench(Exam):
    """GMAI-MMBench VAL. Its arguments are those of `PublishedSource`."""

    name = "gmai-mmbench"
    splits = ("val",)
    card = Card(
        name="gmai-mmbench",
        title="GMAI-MMBench, VAL",
        home="https://uni-medical.github.io/GMAI-MMBench.github.io",
        repo="VLMEval/GMAI-MMBench",
        revision="main",
        licence="Apache-2.0 (the questions; images are those of 284 data sets)",
        citation=(
            "Chen et al., GMAI-MMBench: A Comprehensive Multimodal Evaluation Benchmark Towards "
            "General Medical AI, NeurIPS 2024 (arXiv 2408.03361)"
        ),
        splits={"val": SplitCounts(4549, origin="inferred")},
        files=(PublishedFile(_FILE, md5="254bd581627866f1c499d3d6b4422324"),),
        grouping="the image, by what it holds",
        layout=_FILE,
        faults=(
            "images are base64 in a table of 9 GB, which is read once and then opened by places",
            "the number of rows is that of another copy on the Hub",
            "TEST is gated and has no published answers; it is not read",
            "the revision is not proven",
        ),
    )

    def items(self, split: str) -> list[Item]:
        """See `Exam.items`."""
        path = self.file(_FILE)
        uri = file_uri(path)
        return [_item(row, path, uri) for row in _indexed(path)]

    @classmethod
    def open_image(cls, ref: ImageRef) -> ImagingStudy:
        """See `Source.open_image`."""
        match = _URI.fullmatch(ref.uri)
        path = file_path(match[3]) if match else None
        if match is None or path is None:
            raise UserError(
                f"{ref.uri!r} is no image of {cls.name}; fix: write "
                f"{cls.name}:OFFSET+LENGTH@file:PATH"
            )
        place = f"the image at byte {int(match[1]):,} of {path}"
        try:
            data = base64.b64decode(read_span(path, int(match[1]), int(match[2])), validate=True)
        except binascii.Error as error:
            raise UserError(f"{place} is no base64 ({error}); fix: fetch it again") from error
        return open_bytes(data, place)


def _item(row: dict[str, Any], path: Path, uri: str) -> Item:
    number = row["number"]
    texts: dict[str, str] = row["texts"]
    place = f"row {number} of {path}"
    options = {letter: texts.get(letter, "") for letter in _LETTERS}
    offered = tuple(option for option in options.values() if option.strip())
    letter = field(texts, "answer", place).strip()
    picture = f"gmai-mmbench:{row['offset']}+{row['length']}@{uri}"
    item = Item(
        key=field(texts, "index", place),
        file=path.name,
        number=number,
        group=row["digest"],
        images=(picture,) if row["length"] else (),
        ref=_ref,
        question=field(texts, "question", place),
        options=offered,
        answer=options.get(letter, ""),
        modality=modality_code(texts.get("modality", "")),
    )
    if item.answer.strip():
        return item
    return replace(item, fault=f"its answer is {letter!r}, and that option is empty or none")


def _ref(uri: str) -> ImageRef:
    return ImageRef(uri=uri)


def _indexed(path: Path) -> list[dict[str, Any]]:
    """The rows of the table, from the index beside it, or else from the table itself."""
    with open_regular(path) as stream:
        found = os.fstat(stream.fileno())
    stamp = [found.st_size, found.st_mtime_ns]
    index = path.with_name(f"{path.name}.index.json")
    try:
        kept = json.loads(index.read_text("utf-8"))
        rows: list[dict[str, Any]] = kept["rows"]
        if kept["stamp"] == stamp and all(row.keys() == _KEPT for row in rows):
            return rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # there is none yet, or none that is whole
    rows = _found(path)
    with suppress(OSError, UserError, RunError):  # then the next command reads the table again
        write_atomic(index, json.dumps({"stamp": stamp, "rows": rows}).encode())
    return rows


def _found(path: Path) -> list[dict[str, Any]]:
    rows, holders = [], {}
    for each in table_rows(path, _IMAGE):
        row = {
            "number": each.number,
            "texts": each.texts,
            "offset": each.offset,
            "length": each.length,
            "digest": each.digest,
        }
        rows.append((row, each.start.strip()))
        holders[each.texts.get("index", "")] = row
    nowhere = {"offset": 0, "length": 0, "digest": ""}
    for row, start in rows:
        if start.isdecimal():  # all of a field is in `start` where it is as short as an index is
            holder = holders.get(start, nowhere)
            row |= {name: holder[name] for name in nowhere}
    return [row for row, _ in rows]
