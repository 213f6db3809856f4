"""Which back end `detect` and `classify` take, by what a spec says of it."""

import pytest

from medgym.errors import UserError
from medgym.tool import load_tools


@pytest.mark.parametrize("name", ["detect", "classify", "segment"])
@pytest.mark.parametrize(("fidelity", "backend"), [("oracle", "oracle"), ("predicted", "noised")])
def test_a_fidelity_names_its_back_end(name: str, fidelity: str, backend: str) -> None:
    (by_fidelity,) = load_tools([f"{name}?fidelity={fidelity}"])
    (by_name,) = load_tools([f"{name}?backend={backend}"])
    (by_both,) = load_tools([f"{name}?backend={backend}&fidelity={fidelity}"])
    for tool in (by_fidelity, by_name, by_both):
        assert (tool.fidelity, tool.needs_gold) == (fidelity, True)
    if name != "segment":
        assert by_fidelity.source == by_name.source == backend  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["detect", "classify"])
def test_a_back_end_of_another_fidelity_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"backend=noised is of the fidelity predicted, not oracle"):
        load_tools([f"{name}?backend=noised&fidelity=oracle"])
    with pytest.raises(UserError, match=r"backend=transformers is of the fidelity predicted"):
        load_tools([f"{name}?model=nowhere&fidelity=oracle"])
    with pytest.raises(UserError, match="nowhere"):  # of a model, which is not there
        load_tools([f"{name}?model=nowhere&fidelity=predicted"])
    with pytest.raises(UserError, match="vision"):
        load_tools([f"{name}?fidelity=vision"])
