import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.sources.phantom.source import PhantomSource

SPECS = (
    "phantom:test",
    "phantom,look=ct,question=side+presence:train",
    "phantom,size=256+512:test",
)


@pytest.mark.parametrize("spec", SPECS)
def test_a_case_is_found_by_its_id_without_a_search(spec: str) -> None:
    cases = open_cases(spec)
    for place in (0, 1, 50, 777, len(cases) - 1):
        assert cases.find(cases[place].id).id == cases[place].id
    with pytest.raises(UserError, match="among these"):
        cases[:10].find(cases[11].id)


@pytest.mark.parametrize(
    "name", ["", "x", "phantom/test/ct-512-kind-²", "phantom/test/ct-512-kind-" + "9" * 30]
)
def test_what_names_no_case_has_no_place(name: str) -> None:
    assert PhantomSource().cases("test").index_of(name) == -1


def test_a_case_of_other_options_is_not_among_these() -> None:
    wanted = PhantomSource(look="fundus").cases("test")[5].id
    assert PhantomSource(look="ct").cases("test").index_of(wanted) == -1
    assert PhantomSource().cases("train").index_of(wanted) == -1


def test_the_key_of_a_case_is_known_without_the_case() -> None:
    for split in ("train", "test"):
        cases = open_cases(f"phantom,size=512+1024,question=kind+presence+diagnosis:{split}[3:99]")
        made = [(case.id, case.source, case.group) for case in cases]
        assert [tuple(key) for key in cases.case_keys()] == made
