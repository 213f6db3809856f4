"""What makes a case impossible to score, and that no such case is ever played in silence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import medgym
from medgym.cases import Case, CaseList, case_hash, open_cases, unscored, write_cases
from medgym.env import MedEnv
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.regions import Region
from medgym.rollout import collect
from medgym.scorable import equal_options, unscorable
from medgym.source import Source


def a_case(**other: Any) -> Case:
    said = {"id": "a/test/0", "images": (), "question": "?", "answer": "x", "group": "g"}
    return Case(**{**said, "source": "a", "split": "test", **other})


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"question": " "}, "the question is blank"),
    ({"answer": ""}, "the answer is blank"),
    ({"answer": " \n"}, "the answer is blank"),
    ({"accepted": ("y", " ")}, "an accepted answer is blank"),
    ({"answer": "z", "options": ("x", "y")}, "the answer 'z' is none of its options ('x', 'y')"),
    ({"options": ("x", "y"), "accepted": ("z",)}, "the answer 'z' is none of its options"),
    ({"options": ("x",)}, "it has 1 options, and 2 to 26 can be offered"),
    ({"options": ("x", *map(str, range(26)))}, "it has 27 options"),
    ({"options": ("x", " ")}, "an option is blank"),
    (
        {"regions": (Region(label="nodule", box_px=(0, 0, 1, 1), image=3),)},
        "a gold region is on image 3, and it has 0",
    ),
    ({"answer_type": "choice"}, "it is a choice without options"),
    ({"answer_type": "number", "answer": "many"}, "its answer_type is number"),
]


@pytest.mark.parametrize(("other", "reason"), FAULTS)
def test_why_a_case_cannot_be_scored(other: dict[str, Any], reason: str, tmp_path: Path) -> None:
    assert unscorable(a_case()) is None
    bad = a_case(id="a/test/1", **other)
    assert reason in str(unscorable(bad))
    with pytest.raises(UserError) as listed:
        open_cases([a_case(), bad])
    assert "the case 'a/test/1' (number 1 of a list of cases) can be right: " in str(listed.value)
    write_cases([a_case(), bad], tmp_path / "c.jsonl")
    with pytest.raises(UserError) as read:
        open_cases(tmp_path / "c.jsonl")
    assert "(line 2 of " in str(read.value)
    for error in (listed, read):
        assert reason in str(error.value)
        assert str(error.value).count("; fix: ") == 1


class Odd(Source):
    """Makes its cases when they are asked for, one of which cannot be scored."""

    name: ClassVar[str] = "odd"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    def cases(self, split: str) -> Sequence[Case]:
        good = medgym.open_cases("phantom,look=radiograph:test[:3]")

        class Lazy(Sequence[Case]):
            def __len__(self) -> int:
                return 4

            def __getitem__(self, index: Any) -> Any:
                return a_case(id="odd/test/3", answer=" ") if index == 3 else good[index]

        return Lazy()


def test_a_case_that_is_made_later_is_never_played_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = medgym.registry.load
    monkeypatch.setattr("medgym.registry.load", lambda *of: Odd if of[1] == "odd" else load(*of))
    said = r"'odd/test/3' \(number 3 of odd:test\) can be right: the answer is blank; fix: "
    rules = medgym.Rules.for_cases("odd:test", tools=(), view_size=64)
    stream = collect("odd:test", load_policy("scripted:prior"), rules, ordered=True)
    with pytest.raises(UserError, match=said):
        list(stream)
    with pytest.raises(UserError, match=said):
        MedEnv("odd:test", view_size=64).reset(options={"case": 3})
    assert len(list(open_cases("odd:test[:3]"))) == 3
    assert [case.answer for case in open_cases("odd:test").unchecked][3] == " "


def test_an_image_of_ones_own_needs_no_gold() -> None:
    own = a_case(answer="")
    assert list(unscored([own])) == [own]
    assert isinstance(open_cases(unscored([own])), CaseList)


def test_equal_options_are_named(tmp_path: Path) -> None:
    twice = a_case(id="a/test/1", options=("X", "y", "x."), answer="X")
    assert equal_options(twice) == ("X", "x.")
    assert equal_options(a_case(options=("x", "y"))) == ()
    note = "1 case offers an option twice, such as a/test/1 ('X')"
    assert open_cases([a_case(), twice]).notes == (note,)
    write_cases([twice, twice.model_copy(update={"id": "b"})], tmp_path / "c.jsonl")
    (note,) = open_cases(f"{tmp_path}/c.jsonl[:1]").notes
    assert note.startswith("2 cases offer an option twice, such as a/test/1")


def test_a_case_without_accepted_answers_keeps_its_hash() -> None:
    case = a_case(options=("x", "y"))
    assert case_hash(case) == "1e7779fdfd5b25cd7f1ed9e04b0ab72f"
    assert case_hash(case.model_copy(update={"accepted": ("y",)})) != case_hash(case)
    assert case.model_copy(update={"accepted": ("y",)}).golds == ("x", "y")
