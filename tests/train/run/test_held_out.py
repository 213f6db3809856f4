"""Which cases nothing may be learned from, and how they are named."""

from pathlib import Path

import pytest

from medgym.cases import Case, CaseKey, open_cases, write_cases
from medgym.errors import UserError
from medgym.train.data.order import GoldCases
from medgym.train.run.held_out import Guard

TRAIN = "phantom,look=ct,question=kind:train[:3]"


@pytest.fixture
def cases() -> list[Case]:
    return list(open_cases(TRAIN))


def held(path: Path, *cases: Case) -> list[GoldCases]:
    write_cases(cases, path / "held.jsonl")
    return [GoldCases(str(path / "held.jsonl"))]


def test_training_cases_may_be_learned_from(cases: list[Case], tmp_path: Path) -> None:
    guard = Guard(held(tmp_path, cases[2]))
    guard.check(cases[:2])
    guard.check_key(CaseKey(cases[0].id, cases[0].source, cases[0].group))


def test_a_key_is_refused_by_id_and_by_group(cases: list[Case], tmp_path: Path) -> None:
    guard = Guard(held(tmp_path, cases[2]))
    with pytest.raises(UserError, match=f"'{cases[2].id}' is one of .*held.jsonl"):
        guard.check_key(CaseKey(cases[2].id, "", ""))
    with pytest.raises(UserError, match="'mine/train/1' is of the group"):
        guard.check_key(CaseKey("mine/train/1", cases[2].source, cases[2].group))


def test_the_split_test_is_refused_even_where_only_the_id_is_known() -> None:
    with pytest.raises(UserError, match=r"'mine/test/1' is of the split test of mine.*fix: "):
        Guard([]).check_id("mine/test/1")


def test_cases_of_a_source_are_held_out_without_being_made() -> None:
    spec = "phantom,look=ct,question=kind:validation[:2]"
    case = open_cases(spec)[1]
    with pytest.raises(UserError, match="is one of phantom,look=ct,question=kind:validation"):
        Guard([GoldCases(spec)]).check([case])


def test_a_folder_of_pairs_with_test_cases_is_refused(cases: list[Case], tmp_path: Path) -> None:
    from medgym.messages import ImagePart
    from medgym.storage.trajectories import ImageStore
    from medgym.train.data.preferences import Pair, PairFolder
    from medgym.train.data.preferences.build import refuse_held_out

    from ..data.preferences.conftest import picture, played

    images = ImageStore(tmp_path / "images")
    first: ImagePart = picture(0)
    images.put(first)
    pairs = [Pair(played(c, 0), played(c, 1, right=False), "outcome", "") for c in cases]
    known = PairFolder.write(tmp_path / "a", pairs, images, {c.id: c for c in cases})
    unknown = PairFolder.write(tmp_path / "b", pairs, images)
    for folder in (known, unknown):
        refuse_held_out(folder, [])
        with pytest.raises(UserError, match=f"'{cases[1].id}' is one of"):
            refuse_held_out(folder, held(tmp_path, cases[1]))
