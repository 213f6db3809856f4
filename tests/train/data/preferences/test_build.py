"""Pairs of a run: which are made, which are not, and of which cases none may be."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.cases import Case, open_cases, write_cases
from medgym.errors import UserError
from medgym.train.data.order import GoldCases
from medgym.train.data.preferences import Pair, PairBuilder, PairFolder, build_pairs
from medgym.train.data.preferences.pair import fault_of
from medgym.trajectory import Trajectory

from .conftest import CASES, group_of, played, stored


def built(run: Path, out: Path, *makes: str, **asked: Any) -> PairFolder:
    return build_pairs(run, dict.fromkeys(makes, 1.0), asked.pop("cases", CASES), out, **asked)


def test_pairs_of_a_run(run: Path, tmp_path: Path) -> None:
    folder = built(run, tmp_path / "pairs", "outcome", "looking")
    pairs = folder.pairs()
    assert len(pairs) == len(folder)
    assert Counter(pair.builder for pair in pairs) == {"outcome": 12, "looking": 6}
    for pair in pairs:
        assert pair.chosen.case_id == pair.rejected.case_id
        for side in (pair.chosen, pair.rejected):
            assert all(folder.images.get(sha256) for sha256 in side.image_hashes)
    assert {row["chosen"]["run"] for row in folder.rows} == {str(run)}


def test_the_same_seed_gives_the_same_pairs(run: Path, tmp_path: Path) -> None:
    first, same, other = (
        built(run, tmp_path / f"pairs-{n}", "outcome,alike=false", seed=seed)
        for n, seed in enumerate((0, 0, 1))
    )
    assert first.rows == same.rows
    assert first.pairs() == same.pairs()
    assert first.rows != other.rows


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_case_has_more_pairs_than_asked(run: Path, tmp_path: Path, most: int) -> None:
    folder = built(run, tmp_path / "pairs", "outcome", "looking", most=most)
    assert max(Counter(pair.case_id for pair in folder).values()) == most


def test_weights_are_shares_as_far_as_there_are_pairs(run: Path, tmp_path: Path) -> None:
    makes = {"looking": 1.0, "outcome": 3.0}
    folder = build_pairs(run, makes, CASES, tmp_path / "pairs", most=1)
    assert Counter(pair.builder for pair in folder) == {"outcome": 5, "looking": 1}


def test_a_test_case_in_a_run_is_refused_by_name(some_cases: list[Case], tmp_path: Path) -> None:
    planted = open_cases(f"{CASES.removesuffix('train')}test[:1]")[0]
    run = stored(tmp_path / "run", [*group_of(some_cases[0]), *group_of(planted)])
    with pytest.raises(UserError, match=f"the case '{planted.id}' is of the split test.*fix: "):
        built(run, tmp_path / "pairs", "outcome")
    assert not (tmp_path / "pairs").exists()


def test_held_out_cases_are_refused_by_id_group_and_content(
    some_cases: list[Case], run: Path, tmp_path: Path
) -> None:
    tested = some_cases[3]
    other = tested.model_copy(update={"id": "mine/held/1"})
    again = other.model_copy(update={"group": "another", "source": "mine"})
    for case, said in ((tested, "is one of"), (other, "is of the group"), (again, "asks the same")):
        write_cases([case], tmp_path / "held.jsonl")
        held_out = [GoldCases(str(tmp_path / "held.jsonl"))]
        with pytest.raises(UserError, match=f"the case '{tested.id}' {said}"):
            built(run, tmp_path / "pairs", "outcome", held_out=held_out)


def test_a_file_of_cases_holds_out_the_groups_of_its_own_test(
    some_cases: list[Case], run: Path, tmp_path: Path
) -> None:
    tested = some_cases[2].model_copy(update={"id": "mine/test/1", "split": "test"})
    write_cases([*some_cases, tested], tmp_path / "cases.jsonl")
    with pytest.raises(UserError, match=f"'{some_cases[2].id}' is of the group"):
        built(run, tmp_path / "pairs", "outcome", cases=str(tmp_path / "cases.jsonl"))


def test_episodes_of_other_cases_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    folder = built(run, tmp_path / "pairs", "outcome", cases=f"{CASES}[:2]")
    assert len({pair.case_id for pair in folder}) == 2
    counts = folder.counts
    assert counts["dropped"] == {"a group of a case that was not asked for": 4}


def test_one_pair_comes_once(some_cases: list[Case], tmp_path: Path) -> None:
    case = some_cases[0]
    group = [played(case, n, right=n < 3, text="r" if n < 3 else "w") for n in range(6)]
    run = stored(tmp_path / "run", group)
    folder = built(run, tmp_path / "pairs", "outcome")
    assert len(folder) == 1
    assert folder.counts["dropped"] == {"the same pair twice": 2}


def test_a_run_of_single_episodes(some_cases: list[Case], tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [played(case, 0) for case in some_cases])
    with pytest.raises(UserError, match=r"one episode of each case.*--group-size"):
        built(run, tmp_path / "pairs", "outcome")


def test_cases_without_regions(some_cases: list[Case], tmp_path: Path) -> None:
    bare = [case.model_copy(update={"regions": ()}) for case in some_cases]
    write_cases(bare, tmp_path / "bare.jsonl")
    run = stored(tmp_path / "run", [played(c, n, right=n > 0) for c in bare for n in range(2)])
    with pytest.raises(UserError, match="has gold regions, which looking needs"):
        built(run, tmp_path / "pairs", "looking", cases=str(tmp_path / "bare.jsonl"))


def test_episodes_without_tokens(some_cases: list[Case], tmp_path: Path) -> None:
    import medgym

    run = tmp_path / "run"
    list(medgym.collect(some_cases[:2], "scripted:random", group_size=2, out=run))
    with pytest.raises(UserError, match="have no tokens, which outcome needs"):
        built(run, tmp_path / "pairs", "outcome")


def test_nothing_left_says_why(some_cases: list[Case], tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [played(some_cases[0], n) for n in range(4)])
    with pytest.raises(
        UserError, match=r"no pair can be made of .*1 groups without one of outcome"
    ):
        built(run, tmp_path / "pairs", "outcome")
    assert not (tmp_path / "pairs").exists()


def test_a_case_that_has_changed_is_left_out(some_cases: list[Case], tmp_path: Path) -> None:
    old = some_cases[0].model_copy(update={"question": "Another question?"})
    run = stored(tmp_path / "run", [*group_of(old), *group_of(some_cases[1])])
    folder = built(run, tmp_path / "pairs", "outcome")
    assert {pair.case_id for pair in folder} == {some_cases[1].id}
    assert folder.counts["dropped"] == {"a group of a case that has changed since": 1}


def test_pairs_of_two_tokenizers_are_dropped(some_cases: list[Case], tmp_path: Path) -> None:
    from dataclasses import replace

    case = some_cases[0]
    group = group_of(case)
    other = replace(group[0], vision_token_ids=(PLACEHOLDER_OF_ANOTHER, 5))
    run = stored(tmp_path / "run", [other, *group[2:5]])
    with pytest.raises(UserError, match="1 of two tokenizers"):
        built(run, tmp_path / "pairs", "outcome")


PLACEHOLDER_OF_ANOTHER = 6


def test_a_folder_that_is_taken_stays(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    built(run, out, "outcome")
    with pytest.raises(UserError, match="exists and is not empty"):
        built(run, out, "outcome")
    assert len(PairFolder.open(out)) == 12


class Broken(PairBuilder):
    name = "broken"

    def pairs(self, group: Any, source: Any) -> Any:
        yield Pair(group.episodes[0], group.episodes[0], "broken", "the same")
        raise ZeroDivisionError


def test_a_builder_that_fails_is_named_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medgym.errors import RunError

    monkeypatch.setattr("medgym.train.data.preferences.build.load_builder", lambda _: Broken())
    with pytest.raises(RunError, match="the builder of pairs 'broken' raised ZeroDivisionError"):
        built(run, tmp_path / "pairs", "broken")
    assert not (tmp_path / "pairs").exists()


EPISODE = st.tuples(
    st.booleans(), st.sampled_from(["", "hit", "miss"]), st.sampled_from("abc"), st.booleans()
)
GROUPS = st.lists(st.lists(EPISODE, min_size=2, max_size=5), min_size=2, max_size=4)


@settings(max_examples=6)
@given(groups=GROUPS, most=st.integers(1, 4), seed=st.integers(0, 3))
def test_whatever_a_run_holds(
    some_cases: list[Case], groups: list[list[Any]], most: int, seed: int
) -> None:
    """The last case is held out: no pair is of it. Elsewhere no pair comes twice or too often, none
    is degenerate, and the same seed gives the same."""
    with TemporaryDirectory() as folder:
        here = Path(folder)
        episodes = [
            played(case, n, right=right, look=look, text=text, unreadable=unreadable)
            for case, group in zip(some_cases, groups, strict=False)
            for n, (right, look, text, unreadable) in enumerate(group)
        ]
        run = stored(here / "run", episodes)
        makes = ("outcome", "looking", "format", "efficient")
        asked = {"most": most, "seed": seed, "cases": some_cases[: len(groups) - 1]}
        try:
            found = built(run, here / "one", *makes, **asked)
        except UserError as error:
            if "no pair can be made of" not in str(error):
                raise
            return
        pairs = found.pairs()
        assert {pair.case_id for pair in pairs} <= {case.id for case in some_cases[:-1]}
        assert not any(pair.case_id == some_cases[len(groups) - 1].id for pair in pairs)
        assert max(Counter(pair.case_id for pair in pairs).values()) <= most
        texts = [tuple(content(side) for side in (p.chosen, p.rejected)) for p in pairs]
        assert len(set(texts)) == len(texts)
        assert all(fault_of(pair) is None for pair in pairs)
        again = built(run, here / "two", *makes, **asked)
        assert again.rows == found.rows
        assert again.pairs() == pairs


def content(trajectory: Trajectory) -> object:
    return trajectory.case_id, tuple(
        (node.token_ids, tuple(use.sha256 for use in node.images)) for node in trajectory.nodes
    )
