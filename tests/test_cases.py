"""Cases, masks and specs: what is written is read back, and what is wrong is named in one line."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

import medgym.registry
from medgym.case_spec import parse_spec, write_spec
from medgym.cases import (
    AnswerType,
    Case,
    CaseList,
    Mask,
    Region,
    case_hash,
    open_cases,
    option_of,
    read_cases,
    write_cases,
)
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.source import Source

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bits = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
boxes = st.tuples(*[st.floats(-1e6, 1e6)] * 4)
regions = st.builds(Region, label=text, box_px=boxes, mask=st.none() | bits.map(Mask.of))
refs = st.builds(
    ImageRef,
    uri=text,
    role=st.sampled_from(["current", "prior"]),
    frame=st.none() | st.integers(0, 9),
    series=st.none() | text,
)
cases = st.builds(
    Case,
    id=text,
    images=st.lists(refs, max_size=2).map(tuple),
    question=text,
    options=st.lists(text, max_size=3).map(tuple),
    context=text,
    answer=text,
    answer_type=st.sampled_from(get_args(AnswerType)),
    regions=st.lists(regions, max_size=2).map(tuple),
    modality=st.none() | text,
    body_part=st.none() | text,
    specialty=st.none() | text,
    language=text,
    group=text,
    source=text,
    split=text,
    licence=text,
).map(lambda case: case.model_copy(update={"answer": (*case.options, case.answer)[0]}))


def a_case(**fields: Any) -> Case:
    given = {"id": "a/train/0", "images": (), "question": "?", "answer": "yes"}
    return Case(**{**given, "group": "g", "source": "a", "split": "train", **fields})


@given(bits)
def test_a_mask_is_read_back(array: Any) -> None:
    mask = Mask.of(array)
    assert (mask.height, mask.width) == array.shape
    assert np.array_equal(mask.array(), array)
    assert Mask.of(mask.array()) == mask
    assert all(run > 0 for run in mask.counts[1:])
    assert Mask.model_validate_json(mask.model_dump_json()) == mask


@pytest.mark.parametrize("counts", [(3,), (5,), (2, -1, 3), (), (4, 4)])
def test_a_mask_must_fill_its_frame(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="add up"):
        Mask(width=2, height=2, counts=counts)


def scorable(case: Case) -> Case:
    """The case, changed to one that can be scored."""
    options = tuple(f"{n}{option}" for n, option in enumerate(case.options))
    options = options if len(options) > 1 else ()
    kind = "open" if case.answer_type in ("choice", "number") else case.answer_type
    changes = {"options": options, "answer_type": kind, "question": f"?{case.question}"}
    return case.model_copy(update={**changes, "answer": (*options, f"x{case.answer}")[0]})


@given(st.lists(cases.map(scorable), min_size=1, max_size=4, unique_by=lambda case: case.id))
def test_cases_survive_json_lines(tmp_path_factory: Any, written: list[Case]) -> None:
    path = tmp_path_factory.mktemp("cases") / "cases.jsonl"
    write_cases(written, path)
    assert read_cases(path) == written
    assert list(open_cases(str(path))) == written


def test_a_rare_line_end_in_a_question_ends_no_case(tmp_path: Path) -> None:
    ends = "\u2028\u2029\x85\x0b\x0c\x1c\r\n"
    written = [a_case(id=f"a/train/{i}", question=f"one{end}two") for i, end in enumerate(ends)]
    write_cases(written, tmp_path / "cases.jsonl")
    assert read_cases(tmp_path / "cases.jsonl") == written


def test_a_slice_may_follow_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cases.jsonl"
    written = list(open_cases("phantom:test[:4]"))
    write_cases(written, str(path))  # makes the folder
    assert list(open_cases(f"{path}[1:3]")) == written[1:3]
    assert list(open_cases(path)) == list(open_cases(written)) == read_cases(str(path)) == written


def test_relative_paths_of_images_count_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a folder with cases and images may be moved; in memory they count from here."""
    uris = ["file:images/a%20 b.png", "file:../c.png", "file:/d.png", "file:///e.png", "phantom:f"]
    case = a_case(images=tuple(ImageRef(uri=uri) for uri in uris))
    path = tmp_path / "one" / "cases.jsonl"
    path.parent.mkdir()
    path.write_text(case.model_dump_json())
    path.parent.rename(tmp_path / "two")
    (found,) = open_cases(tmp_path / "two" / "cases.jsonl")
    inside, above = tmp_path / "two" / "images" / "a%20 b.png", tmp_path / "c.png"
    assert [ref.uri for ref in found.images] == [inside.as_uri(), above.as_uri(), *uris[2:]]
    monkeypatch.chdir(tmp_path / "two")
    write_cases([case], tmp_path / "cases.jsonl")
    assert read_cases(tmp_path / "cases.jsonl") == [found]


@pytest.mark.parametrize(
    ("cases", "path", "said"),
    [
        ("own/cases.jsonl", [], r"fix: write_cases\(cases, path\)"),
        ([], None, r"fix: write_cases\(cases, path\)"),
        ([], "/proc/nowhere/cases.jsonl", "cannot write /proc/nowhere"),
    ],
)
def test_write_cases_says_what_it_takes(cases: Any, path: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        write_cases(cases, path)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("own/cases.csv", "no such table: own/cases.csv; fix: check the path"),
        ("own/cases.csv:test", "no such table: own/cases.csv; fix: check the path"),
        ("tests", "tests is a folder; fix: write folder,path=tests:all where"),
        ("README.md", "cannot read cases from README.md; what can be read are tables"),
        ('table,path="a.csv:all', "a quotation mark that is not closed; fix: close it"),
        ("table,path=a[1].csv:all", 'in quotes: path="a, b.csv"'),
        ("own.jsonl:test[:5]", "own.jsonl has no splits; fix: omit the 'test'"),
        ("phantom", "name no split; fix: write phantom:train or phantom:"),
        ("phantom,look=ct", "name no split; fix: write phantom,look=ct:train or"),
        ("phantom:test[5:2]", r"'phantom:test\[5:2\]' names no case; fix: widen the slice"),
        ("\0" + "x" * 5000, "cannot read the cases"),
    ],
)
def test_what_cannot_be_read_says_what_can(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_cases(spec)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("phantom:train", ("phantom", (), "train", slice(None, None, None))),
        ("phantom:train[:200]", ("phantom", (), "train", slice(None, 200, None))),
        ("phantom:test[100:300]", ("phantom", (), "test", slice(100, 300, None))),
        ("phantom:test[-5:]", ("phantom", (), "test", slice(-5, None, None))),
        ("phantom:test[::-2]", ("phantom", (), "test", slice(None, None, -2))),
        (
            "p,look=ct+fundus,a=x%2Cy:test",
            ("p", (("look", "ct+fundus"), ("a", "x,y")), "test", slice(None)),
        ),
        (
            'p,a="x, y: [1] 100%25 ""z""",b="c+d"+e=f:"fold: 1"[:5]',
            (
                "p",
                (("a", 'x, y: [1] 100%25 "z"'), ("b", "c+d+e=f")),
                "fold: 1",
                slice(5),
            ),
        ),
    ],
)
def test_a_spec_is_taken_apart(spec: str, expected: Any) -> None:
    parts = parse_spec(spec)
    assert (parts.source, parts.options, parts.split, parts.slice) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "", "phantom", "phantom:", ":train", "phantom:train[", "phantom:train[5]", "phantom:train]",
        "phantom,look=:train",
        "phantom:train[-:5]", "phantom:train[:-]", "phantom:train[a:]", "phantom:train[::0]",
        "phantom,look:train", "phantom,=ct:train", "phantom:train[:5]x", "phantom:a:b",
        "phantom,look=ct,look=mr:train", "phantom:train[:" + "9" * 5000 + "]",
    ],
)  # fmt: skip
def test_another_form_of_spec_is_refused(spec: str) -> None:
    with pytest.raises(UserError) as error:
        parse_spec(spec)
    assert "\n" not in str(error.value)


@given(st.lists(st.text(min_size=1, max_size=20), max_size=3), st.text(min_size=1))
def test_a_spec_that_is_written_is_read_back(values: list[str], split: str) -> None:
    pairs = tuple((f"key{number}", value) for number, value in enumerate(values))
    parts = parse_spec(f"{write_spec('table', pairs, split)}[2:]")
    assert (parts.options, parts.split, parts.slice) == (pairs, split, slice(2, None))


@given(st.text(max_size=30))
def test_no_spec_raises_anything_else(spec: str) -> None:
    with contextlib.suppress(UserError):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("phantm:train", "did you mean 'phantom'"),
        ("phantom:trian", "did you mean 'train'"),
        ("phantom,lok=ct:train", "look"),
        ("nowhere/cases.jsonl", "nowhere/cases.jsonl"),
    ],
)
def test_an_unknown_name_is_named_with_its_nearest(spec: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        open_cases(spec)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("nonsense", "line 2"),
        ('{"id": "x"}', "images"),
        (a_case().model_dump_json()[:-1] + ', "colour": "red"}', "colour"),
    ],
)
def test_a_bad_line_of_cases_is_named(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{a_case().model_dump_json()}\n{line}\n", "utf-8")
    with pytest.raises(UserError, match=named) as error:
        read_cases(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_cases_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read"):
        open_cases(str(tmp_path / "cases.jsonl"))


class Numbers(Sequence[Case]):
    """Lazy cases that count how often they are made."""

    def __init__(self, length: int) -> None:
        self.length, self.made = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        self.made += 1
        return a_case(id=f"n/train/{index}")


@given(st.integers(0, 20), st.lists(st.slices(20), max_size=3))
def test_slices_of_cases_are_those_of_a_list(length: int, slices: list[slice]) -> None:
    numbers = Numbers(length)
    lazy, ids = CaseList(numbers), [f"n/train/{i}" for i in range(length)]
    for each in slices:
        lazy, ids = lazy[each], ids[each]
    assert numbers.made == 0
    assert len(lazy) == len(ids)
    assert [case.id for case in lazy] == ids
    if ids:
        assert lazy[-1].id == ids[-1]
        assert lazy.find(ids[0]).id == ids[0]


def test_a_case_outside_the_slice_is_not_found() -> None:
    lazy = CaseList(Numbers(9))[2:5]
    assert lazy.find("n/train/4").id == "n/train/4"
    with pytest.raises(UserError, match="n/train/7"):
        lazy.find("n/train/7")
    cases = open_cases("phantom:train[:50]")
    assert cases.find(cases[49].id) == cases[49]
    with pytest.raises(UserError, match="no case"):
        cases.find("phantom/train/nonsense")


def test_a_sequence_that_knows_its_ids_is_not_read_through() -> None:
    class Known(Numbers):
        def index_of(self, case_id: str) -> int:
            return int(case_id.rpartition("/")[2])

    known = Known(10**6)
    assert CaseList(known).find("n/train/999999").id == "n/train/999999"
    assert known.made == 1


TWINS = [a_case(id="a/1"), a_case(id="a/2"), a_case(id="a/1", question="Another one?")]


def test_two_cases_of_one_id_are_refused_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    write_cases(TWINS, path)
    for spec in (str(path), f"{path}[:1]"):
        with pytest.raises(
            UserError, match=r"the id 'a/1': line 1 and line 3 of .*cases\.jsonl; fix"
        ):
            open_cases(spec)
    with pytest.raises(UserError, match="the id 'a/1': number 0 and number 2 of a list of cases"):
        open_cases(TWINS)


class Twins(Source):
    """A source whose split `made` is a list, and whose split `lazy` makes its cases."""

    name = "twins"
    splits = ("made", "lazy")

    def cases(self, split: str) -> Sequence[Case]:
        return TWINS if split == "made" else Lazy(TWINS)


class Lazy(Sequence[Case]):
    def __init__(self, made: Sequence[Case]) -> None:
        self._made = made

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]


def test_a_source_is_held_to_unique_ids_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = medgym.registry.load
    monkeypatch.setattr(
        "medgym.registry.load",
        lambda kind, name: Twins if kind == "sources" else known(kind, name),
    )
    said = "two cases have the id 'a/1': number 0 and number 2 of twins:{}; fix"
    with pytest.raises(UserError, match=said.format("made")):
        open_cases("twins:made")
    lazy = open_cases("twins:lazy")
    assert [lazy[0], lazy[0], lazy[1]] == [TWINS[0], TWINS[0], TWINS[1]]
    for use in (lambda: lazy[2], lambda: lazy[2:][0], lambda: list(lazy), lambda: lazy.find("a/3")):
        with pytest.raises(UserError, match=said.format("lazy")):
            use()
    assert open_cases("twins:lazy[1:]")[1].question == "Another one?"  # the first is not among them


@pytest.mark.parametrize("kind", ["choice", "closed"])
def test_gold_that_is_none_of_the_options_is_refused(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "cases.jsonl"
    wrong = a_case(answer="B", options=("yes", "no"), answer_type=kind)
    write_cases([a_case(id="a/0", answer="no", options=("yes", "no")), wrong], path)
    said = (
        r"'a/train/0' \({} of {}\) .*: the answer 'B' is none of its options \('yes', 'no'\); fix"
    )
    with pytest.raises(UserError, match=said.format("line 2", ".*cases.jsonl")):
        open_cases(path)
    with pytest.raises(UserError, match=said.format("number 0", "a list of cases")):
        open_cases([wrong])


@given(cases)
def test_whatever_a_case_says_is_in_its_hash(case: Case) -> None:
    assert case_hash(case) == case_hash(Case.model_validate_json(case.model_dump_json()))
    image = ImageRef(uri="file:/another.png", frame=3)
    changes: dict[str, Any] = {"images": (*case.images, image), "options": (*case.options, "x")}
    for name in ("question", "context", "answer", "language", "group", "source", "split"):
        changes[name] = getattr(case, name) + "x"
    for name, value in changes.items():
        assert case_hash(case.model_copy(update={name: value})) != case_hash(case)


def test_a_letter_is_a_letter_even_where_an_option_is_called_so() -> None:
    options = ("B", "A", "vitamin C", "D")
    assert [option_of(letter, options) for letter in "ABCD"] == list(options)
    assert option_of("vitamin c", options) == "vitamin C"
    assert option_of("E", options) is None


def test_a_case_is_frozen_and_strict() -> None:
    case = a_case()
    with pytest.raises(ValidationError):
        case.answer = "no"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        a_case(colour="red")


def test_a_shuffled_split_is_the_same_cases_in_the_order_of_its_seed() -> None:
    one = [case.id for case in open_cases("phantom,shuffle=1:test[:9]")]
    assert one == [case.id for case in open_cases("phantom,shuffle=1:test[:9]")]
    assert one != [case.id for case in open_cases("phantom,shuffle=2:test[:9]")]
    assert one != [case.id for case in open_cases("phantom:test[:9]")]
    assert open_cases("phantom:test").shuffled(1)[5].id == one[5]
    parts = [open_cases(f"phantom,shuffle=1:test[{worker}::3]") for worker in range(3)]
    assert [parts[place % 3][place // 3].id for place in range(9)] == one
    few = open_cases([a_case(id=f"a/train/{number}") for number in range(40)])
    assert sorted(few.shuffled(4), key=lambda case: case.id) == sorted(few, key=lambda c: c.id)


def test_a_shuffled_slice_finds_its_own_cases() -> None:
    some = open_cases("phantom,shuffle=3:test[:20]")
    assert some.find(some[7].id) == some[7]
    outside = open_cases("phantom,shuffle=3:test[20:]")[0].id
    with pytest.raises(UserError, match="no case"):
        some.find(outside)


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", "²"])
def test_a_seed_of_an_order_is_a_whole_number(seed: str) -> None:
    with pytest.raises(UserError, match=f"shuffle={seed} is no seed; fix:"):
        open_cases(f"phantom,shuffle={seed}:test")
