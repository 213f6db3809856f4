"""Whatever a public function takes or returns can be had from `medgym` itself."""

import inspect
import typing
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gymnasium.envs.registration import EnvSpec
from PIL import Image

import medgym

LIBRARIES = {
    "EnvSpec": EnvSpec,
    "Image": Image,
    "datasets": SimpleNamespace(Dataset=object),
    "pandas": SimpleNamespace(DataFrame=object),
    "pyarrow": SimpleNamespace(Table=object),
}
"""What annotations name and their modules do not import at once."""


def signatures(thing: object) -> Iterator[Any]:
    """What of a public thing has types: a function; a class, its fields and its public methods."""
    if callable(thing):
        yield thing
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            member = getattr(member, "__func__", member)
            member = member.fget if isinstance(member, property) else member
            if inspect.isfunction(member) and (not name.startswith("_") or name == "__init__"):
                yield member


def types_in(hint: Any) -> Iterator[type]:
    """The classes of medgym that a type is made of."""
    if isinstance(hint, list | tuple):
        for each in hint:
            yield from types_in(each)
    elif inspect.isclass(hint) and hint.__module__.startswith("medgym"):
        yield hint
    yield from (found for each in typing.get_args(hint) for found in types_in(each))


def missing(name: str, thing: object) -> set[str]:
    """The types in the signatures of a public thing that `medgym` does not have."""
    known = {each: getattr(medgym, each) for each in medgym.__all__}
    lost = set()
    for signature in signatures(thing):
        spaces = {**LIBRARIES, **known}
        for hint in typing.get_type_hints(signature, localns=spaces).values():
            lost |= {each.__name__ for each in types_in(hint) if each not in known.values()}
    return lost


@pytest.mark.parametrize("name", [name for name in medgym.__all__ if name != "__version__"])
def test_what_a_public_name_needs_is_public(name: str) -> None:
    assert missing(name, getattr(medgym, name)) == set()


def test_a_type_that_is_not_public_is_found() -> None:
    from medgym.rollout.backend import Finished

    def planted(one: medgym.Case, many: list[tuple[int, Finished]]) -> None: ...

    assert missing("planted", planted) == {"Finished"}


def test_names_are_of_things_and_not_of_modules() -> None:
    assert not any(inspect.ismodule(getattr(medgym, name)) for name in medgym.__all__)
    assert len(set(medgym.__all__)) == len(medgym.__all__)
