"""GMAI-MMBench's table, in the published schema: images inside, opened by their places."""

import base64
import csv
import json
import tracemalloc
from pathlib import Path

import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, open_image
from medgym.sources.exams import gmai_mmbench
from medgym.sources.exams.tsv import table_rows
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures

HEADER = [
    *("index", "image", "question", "A", "B", "C", "D", "E", "answer", "category"),
    *("clinical VQA task", "department", "perceptual granularity", "modality"),
    *("original task", "l2-category"),
]
FILE = "GMAI-MMBench_VAL.tsv"


def _image(value: int) -> str:
    return base64.b64encode(fixtures.encoded(value)).decode()


def _row(index: int, image: str, *texts: str) -> list[str]:
    question, a, b, c, d, e, answer = texts
    task = ["Severity Grading", "SG", "Radiology", "image", "CT", "grading", "SG"]
    return [str(index), image, question, a, b, c, d, e, answer, *task]


ROWS = [
    _row(0, _image(5), "What is it?", "None", "NA", "a cyst", "a stone", "", "B"),
    _row(1, _image(6), 'A "mass"\tor\nwhat?', "yes", "no", "", "", "", "A"),
    _row(2, _image(5), "Again?", "a", "b", "c", "d", "e", "E"),
    _row(3, "1", "Of which image?", "a", "b", "c", "d", "e", "C"),
    _row(4, _image(7), "Which?", "a", "b", "c", "d", "", "E"),
    _row(5, "77", "Of none?", "a", "b", "c", "d", "", "A"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a b 100%"
    folder.mkdir()
    with (folder / FILE).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, "excel-tab", lineterminator="\n").writerows([HEADER, *ROWS])
    return folder


def _spec(folder: Path) -> str:
    return f"gmai-mmbench,counts=any,data={folder}:val"


def test_items_are_read_and_their_images_opened_by_place(folder: Path) -> None:
    cases = open_cases(_spec(folder))
    first, quoted, again, other = cases
    assert (first.options, first.answer) == (("None", "NA", "a cyst", "a stone"), "NA")
    assert (first.id, first.modality) == ("gmai-mmbench/val/0", "CT")
    assert quoted.question == 'A "mass"\tor\nwhat?'
    assert quoted.options == ("yes", "no")
    assert [fixtures.grey(case.images[0]) for case in cases] == [5, 6, 5, 6]
    assert first.group == again.group != quoted.group == other.group
    reasons = [reason for _, reason in cases.dropped]
    assert reasons == ["its answer is 'E', and that option is empty or none", "it has no image"]


def test_the_index_is_used_while_the_table_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [case.model_dump() for case in open_cases(_spec(folder))]
    assert (folder / f"{FILE}.index.json").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(gmai_mmbench, "table_rows", None)  # reading the table would fail
        assert [case.model_dump() for case in open_cases(_spec(folder))] == before
    (folder / f"{FILE}.index.json").write_text("[")
    assert [case.model_dump() for case in open_cases(_spec(folder))] == before
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(b"What is it?", b"What is this?"))
    cases = open_cases(_spec(folder))
    assert cases[0].question == "What is this?"
    assert fixtures.grey(cases[1].images[0]) == 6


def test_every_row_is_read_as_csv_reads_it(tmp_path: Path) -> None:
    texts = ["", "a", '"', '""', 'a"b', "a\tb", "a\nb", "a\r\nb", '"\t"', "é", '\n"\n', "None"]
    rows = [["t", "image", "u"]]
    rows += [[a, "QUJD", b] for a in texts for b in texts]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        path = tmp_path / "t.tsv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, "excel-tab", quoting=quoting).writerows(rows)
        found = [*table_rows(path, "image")]
        assert [[row.texts["t"], row.texts["u"]] for row in found] == [
            [row[0], row[2]] for row in rows[1:]
        ]
        data = path.read_bytes()
        assert {data[row.offset : row.offset + row.length] for row in found} == {b"QUJD"}


def test_the_table_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    field = b"A" * 2**20
    with path.open("wb") as stream:
        stream.write(b"index\timage\n")
        for index in range(24):
            stream.write(b"%d\t%b\n" % (index, field))
    tracemalloc.start()
    try:
        assert len([*table_rows(path, "image")]) == 24
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


def test_another_count_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"6 rows \(expected 4,549\) \(inferred\)"):
        open_cases(f"gmai-mmbench,data={folder}:val")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"index\tquestion\n0\ta\n", "has no column 'image', but index, question"),
        (b"index\timage\n0\n", "row 1 of .* has 1 fields, and the header 2"),
        (b'index\timage\n0\t"QUJD\n', "the row at byte 12 of .* does not end"),
        (b"index\timage\n\xff\tQUJD\n", "row 1 of .* is not UTF-8"),
    ],
)
def test_a_broken_table_is_refused_in_a_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / FILE
    path.write_bytes(data)
    with pytest.raises(UserError, match=said):
        open_cases(_spec(tmp_path))


def test_an_image_that_is_none_is_named(folder: Path) -> None:
    uri = open_cases(_spec(folder))[0].images[0].uri
    path = folder / FILE
    path.write_bytes(path.read_bytes().replace(ROWS[0][1].encode(), b"!" * len(ROWS[0][1])))
    with pytest.raises(UserError, match=r"the image at byte \d+ of .* is no base64"):
        open_image(ImageRef(uri=uri))
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"ends before byte .*; fix: fetch it again"):
        open_image(ImageRef(uri=uri))
    with pytest.raises(UserError, match=r"is no image of gmai-mmbench; fix: write"):
        open_image(ImageRef(uri="gmai-mmbench:nothing"))


def test_a_fetched_copy_is_read(hub: Hub, folder: Path) -> None:
    cases = fetched_cases(hub, "gmai-mmbench", folder, "val", folder / "data")
    assert [fixtures.grey(case.images[0]) for case in cases] == [5, 6, 5, 6]


@pytest.mark.parametrize("place", [f"{'9' * 18}+5", f"1+{'9' * 18}", f"{'9' * 5000}+5"])
def test_a_place_that_no_file_has_is_named(folder: Path, place: str) -> None:
    uri = f"gmai-mmbench:{place}@file:{folder / FILE}"
    with pytest.raises(UserError, match=r"ends before byte|is no image of gmai-mmbench"):
        open_image(ImageRef(uri=uri))


def test_an_index_of_another_form_is_made_again(folder: Path) -> None:
    spec = f"gmai-mmbench,counts=any,data={folder}:val"
    before = list(open_cases(spec))
    index = folder / f"{FILE}.index.json"
    kept = json.loads(index.read_text())
    for row in kept["rows"]:
        row.pop("texts")
    index.write_text(json.dumps(kept))
    assert list(open_cases(spec)) == before
