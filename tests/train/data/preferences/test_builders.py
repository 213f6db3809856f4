"""Each builder on hand-made groups: which episodes meet, which is chosen, and why."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.tool import load_tools
from medgym.train.data.preferences import Group, Pair, PairSource
from medgym.train.data.preferences.pair import fault_of, shared_of
from medgym.train.data.preferences.specs import load_builder
from medgym.trajectory import Fork, Trajectory, validate

from .conftest import group_of, picture, played, stored


def source(case: Case, **changes: Any) -> PairSource:
    images = {picture(n).sha256: picture(n).image for n in range(20)}
    return PairSource([case], images.__getitem__, lambda _: "", **changes)


def pairs_of(spec: str, case: Case, episodes: Iterable[Trajectory], **changes: Any) -> list[Pair]:
    builder, given = load_builder(spec), source(case, **changes)
    builder.begin(given)
    made = list(builder.pairs(Group(case, tuple(episodes)), given))
    for pair in made:
        assert pair.builder == spec.partition(",")[0]
        assert fault_of(pair) is None
        validate(pair.chosen)
        validate(pair.rejected)
    return made


def members(pairs: Iterable[Pair]) -> list[tuple[int, int]]:
    return [(pair.chosen.member, pair.rejected.member) for pair in pairs]


@pytest.fixture
def case(some_cases: list[Case]) -> Case:
    return some_cases[0]


def test_outcome_pairs_right_with_wrong_that_looked_as_often(case: Case) -> None:
    made = pairs_of("outcome", case, group_of(case))
    assert {pair.chosen.member for pair in made} == {0, 1}
    for pair in made:
        assert not pair.rejected.correct
        assert len(pair.chosen.looks) == len(pair.rejected.looks)


def test_outcome_prefers_replies_of_like_length(case: Case) -> None:
    group = [
        played(case, 0, text="x" * 20),
        played(case, 1, right=False, text="y" * 3),
        played(case, 2, right=False, text="y" * 19),
    ]
    assert members(pairs_of("outcome", case, group)) == [(0, 2)]


def test_outcome_counts_what_cannot_be_read_as_wrong(case: Case) -> None:
    group = [played(case, 0), played(case, 1, unreadable=True)]
    (pair,) = pairs_of("outcome", case, group)
    assert pair.why == "answers right against cannot be read"
    assert pairs_of("outcome,unreadable=false", case, group) == []


def test_outcome_asks_for_a_margin_of_reward(case: Case) -> None:
    group = [played(case, 0), played(case, 1, right=False)]
    assert len(pairs_of("outcome,margin=0.9", case, group)) == 1
    assert pairs_of("outcome,margin=1.5", case, group) == []
    equal = [group[0], replace(group[1], reward=group[0].reward)]
    assert pairs_of("outcome", case, equal) == []


def test_looking_pairs_the_gold_region_with_elsewhere_and_nowhere(case: Case) -> None:
    group = [
        played(case, 0, right=False, look="hit"),
        played(case, 1, right=True, look="hit"),
        played(case, 2, right=True, look="miss"),
        played(case, 3, right=True),
    ]
    made = pairs_of("looking", case, group)
    assert members(made)[0][0] == 1  # the right one first
    assert {pair.rejected.member for pair in made} == {2, 3}
    assert {pair.why.rpartition(" ")[2] for pair in made} == {"elsewhere", "nowhere"}


def test_looking_makes_none_of_a_case_without_regions(case: Case) -> None:
    bare = case.model_copy(update={"regions": ()})
    assert pairs_of("looking", bare, group_of(case)) == []


def test_efficient_prefers_fewer_calls_but_no_guess(case: Case) -> None:
    guess, once = played(case, 0), played(case, 1, look="hit")
    twice = replace(played(case, 2, look="hit"), calls=("zoom", "zoom"))
    (pair,) = pairs_of("efficient", case, [guess, once, twice])
    assert members([pair]) == [(1, 2)]
    assert "1 calls in 2 replies against 2 in 2" in pair.why
    assert pairs_of("efficient", case, [guess, once]) == []
    assert pairs_of("efficient", case, [once, played(case, 3, right=False, look="hit")]) == []


def test_format_pairs_readable_with_unreadable(case: Case) -> None:
    group = [
        played(case, 0, right=False),
        played(case, 1),
        replace(played(case, 2, unreadable=True), faults=("form",)),
    ]
    (pair,) = pairs_of("format", case, group)
    assert members([pair]) == [(1, 2)]
    assert pair.why == "can be read against cannot be read (form)"


def test_over_reliance_teaches_the_right_answer_after_the_retrieved_text(
    case: Case, tmp_path: Path
) -> None:
    bare = stored(tmp_path / "bare", [played(case, 0, text="yes"), played(case, 1, right=False)])
    misled = replace(played(case, 0, right=False, look="miss", text="no"), calls=("retrieve",))
    (pair,) = pairs_of(f"over-reliance,without={bare}", case, [misled])
    assert pair.rejected is misled
    assert pair.chosen.kind == "demonstration"
    assert pair.chosen.correct
    assert pair.chosen.nodes[-1].text == "yes"
    assert pair.shared == 3  # question, call, retrieved text
    texts = [[node.text for node in side.nodes[:3]] for side in (pair.chosen, pair.rejected)]
    assert texts[0] == texts[1]
    right = replace(played(case, 0, look="miss"), calls=("retrieve",))
    assert pairs_of(f"over-reliance,without={bare}", case, [right]) == []
    unread = replace(misled, calls=())
    assert pairs_of(f"over-reliance,without={bare}", case, [unread]) == []


def test_ignore_retrieval_prefers_the_answer_of_the_retrieved_text(
    case: Case, tmp_path: Path
) -> None:
    bare = stored(tmp_path / "bare", [played(case, n, right=False, text="no") for n in range(2)])
    helped = replace(played(case, 0, look="miss", text="yes"), calls=("retrieve",))
    (pair,) = pairs_of(f"ignore-retrieval,without={bare}", case, [helped])
    assert pair.chosen is helped
    assert not pair.rejected.correct
    assert pair.rejected.nodes[-1].text == "no"
    assert pair.shared == 3


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_human_takes_members_from_lines_or_a_table(case: Case, tmp_path: Path) -> None:
    row = {"case": case.id, "chosen_member": 1, "rejected_member": 4, "why": "clearer"}
    (pair,) = pairs_of(f"human,file={write(tmp_path / 'a.jsonl', row)}", case, group_of(case))
    assert (members([pair]), pair.why) == ([(1, 4)], "clearer")
    (tmp_path / "a.csv").write_text(f"case,chosen_member,rejected_member\n{case.id},1,4\n")
    (pair,) = pairs_of(f"human,file={tmp_path / 'a.csv'}", case, group_of(case))
    assert members([pair]) == [(1, 4)]
    text = f'case,chosen_member,rejected_member,why\n{case.id},1,4,"two\nlines"\n'
    (tmp_path / "a.csv").write_text(text)
    (pair,) = pairs_of(f"human,file={tmp_path / 'a.csv'}", case, group_of(case))
    assert pair.why == "two\nlines"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"case": ["phantom/train/none"]}, "the run has no episode of the case"),
        ({"case": "phantom/train/none"}, "the run has no episode of the case"),
        ({"chosen_member": 0, "chosen": "x"}, "give either chosen or chosen_member"),
        ({"chosen_member": "one"}, "chosen_member is 'one'"),
        ({"chosen_member": 0, "rejected": "no"}, "fix: name it, such as --model"),
        ({"chosen_member": 0, "rejected_member": 9}, "has no member 9"),
        ({"chosen_member": 0, "rejected_member": 1, "because": ""}, "unknown field 'because'"),
    ],
)
def test_human_says_what_is_wrong_with_a_line(
    case: Case, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    file = write(tmp_path / "a.jsonl", {"case": case.id, "rejected_member": 4} | row)
    if "rejected" in row:
        file = write(tmp_path / "a.jsonl", {"case": case.id} | row)
    with pytest.raises(UserError, match=said) as error:
        pairs_of(f"human,file={file}", case, group_of(case))
    assert "line 1" in str(error.value)


def test_human_puts_texts_into_the_students_tokens(
    case: Case, tmp_path: Path, tiny_folder: Path
) -> None:
    from medgym.local_model import load_local_model

    student = load_local_model(str(tiny_folder))
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=3)
    row = {"case": case.id, "chosen": case.answer, "rejected": "<answer>no idea</answer>"}
    (pair,) = pairs_of(
        f"human,file={write(tmp_path / 'a.jsonl', row)}",
        case,
        group_of(case),
        student=lambda: student,
        rules=lambda: rules,
    )
    assert pair.chosen.kind == pair.rejected.kind == "demonstration"
    assert pair.chosen.correct
    assert not pair.rejected.correct
    assert pair.chosen.nodes[1].text == f"<answer>{case.answer}</answer>"
    assert pair.chosen.nodes[1].token_ids == student.encode_reply(pair.chosen.nodes[1].text)


def test_branches_of_one_turn_share_their_beginning(case: Case) -> None:
    one, other = played(case, 0, look="hit"), played(case, 0, right=False, look="hit")
    assert shared_of(one, other) == 0
    fork = Fork(0, 1, 3, "")
    one, other = replace(one, fork=fork), replace(other, fork=fork)
    assert shared_of(one, other) == 3
    assert shared_of(one, replace(one, fork=Fork(0, 1, 1, ""))) == 3  # a branch of a branch
    elsewhere = replace(played(case, 0, look="miss"), fork=fork)
    assert shared_of(one, elsewhere) == 0
