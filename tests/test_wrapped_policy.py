"""Every policy around another one forwards every declared member that it does not say itself."""

import ast
import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout import collect
from tests.test_architecture import ROOT, module_of, sources

NOT_FORWARDED = {"from_spec", "check_spec", "check_lora", "require_library", "trains"}
"""What is asked of a class before it makes a policy, and what follows from `kind`."""

MEMBERS = sorted(
    name
    for name in {*vars(Policy), *Policy.__annotations__}
    if not name.startswith("_") and name not in NOT_FORWARDED
)

VALUES: dict[str, Any] = {
    "spec": "inner:spec",
    "needs_gold": True,
    "kind": "sampled",
    "vision_token_ids": (7, 8),
    "version": "role-3",
    "local_model": True,
    "takes_adapters": True,
    "drifts": 4,
    "text_only": True,
}

CASE = open_cases("phantom:test[:1]")[0]


class Inner(Policy):
    """A policy that says something unusual of everything and notes what it is asked."""

    spec, needs_gold, kind = VALUES["spec"], VALUES["needs_gold"], VALUES["kind"]
    vision_token_ids, version = VALUES["vision_token_ids"], VALUES["version"]
    local_model, takes_adapters = VALUES["local_model"], VALUES["takes_adapters"]
    drifts, text_only = VALUES["drifts"], VALUES["text_only"]

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def describe(self) -> dict[str, object]:
        return {"a": "file"}

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.asked.append("act")
        return Reply("")

    async def check(self) -> None:
        self.asked.append("check")

    def require_training(self) -> None:
        self.asked.append("require_training")

    def for_case(self, case: Case) -> Policy:
        self.asked.append("for_case")
        return self

    def with_adapter(self, name: str, path: Path) -> Policy:
        self.asked.append(("with_adapter", name, path))
        return self

    def drop_adapter(self, name: str) -> None:
        self.asked.append(("drop_adapter", name))

    def at_most(self, requests: int) -> int:
        self.asked.append(("at_most", requests))
        return requests

    def enter(self) -> None:
        self.asked.append("enter")

    def leave(self) -> None:
        self.asked.append("leave")

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def close(self) -> None:
        self.asked.append("close")


ASKED: dict[str, tuple[Callable[[Policy], Any], Any]] = {
    "act": (lambda p: asyncio.run(p.act((), Sampling())), "act"),
    "check": (lambda p: asyncio.run(p.check()), "check"),
    "require_training": (lambda p: p.require_training(), "require_training"),
    "for_case": (lambda p: p.for_case(CASE), "for_case"),
    "with_adapter": (lambda p: p.with_adapter("a", Path("b")), ("with_adapter", "a", Path("b"))),
    "drop_adapter": (lambda p: p.drop_adapter("a"), ("drop_adapter", "a")),
    "at_most": (lambda p: p.at_most(3), ("at_most", 3)),
    "enter": (lambda p: p.enter(), "enter"),
    "leave": (lambda p: p.leave(), "leave"),
    "pause": (lambda p: p.pause(), "pause"),
    "resume": (lambda p: p.resume(), "resume"),
    "close": (lambda p: p.close(), "close"),
}


def wrapper_of(kind: type[WrappedPolicy], policy: Policy) -> WrappedPolicy:
    """A wrapper as its `__init__` leaves it, but for what it makes from arguments of its own."""
    wrapper = kind.__new__(kind)
    WrappedPolicy.__init__(wrapper, policy)
    return wrapper


def wrappers() -> list[type[WrappedPolicy]]:
    """Every subclass in the sources."""
    for path, file, _ in sources(ROOT):
        if "WrappedPolicy)" in file.read_text("utf-8"):
            importlib.import_module(".".join(module_of(path)))
    found: list[type[WrappedPolicy]] = []
    waiting: list[type[WrappedPolicy]] = [WrappedPolicy]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return sorted(found, key=lambda kind: kind.__name__)


WRAPPERS = wrappers()


def test_the_wrappers_are_found() -> None:
    names = {kind.__name__ for kind in WRAPPERS}
    assert {"WrappedPolicy", "AdaptedHF", "Imitation", "Majority", "Plain", "Led"} <= names


def test_this_test_knows_every_member() -> None:
    assert sorted([*VALUES, *ASKED, "describe"]) == MEMBERS
    assert all(getattr(Policy, name) != value for name, value in VALUES.items())


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)
def test_each_wrapper_forwards_each_member(kind: type[WrappedPolicy], member: str) -> None:
    home = next(each for each in kind.__mro__ if member in vars(each))
    if home is not WrappedPolicy:
        assert issubclass(home, Policy)
        assert home is not Policy, f"{member} is not forwarded"
        return
    inner = Inner()
    wrapper = wrapper_of(kind, inner)
    if member in VALUES:
        assert getattr(wrapper, member) == VALUES[member]
        assert getattr(kind, member) == getattr(Policy, member), "the class itself says nothing"
    elif member == "describe":
        assert wrapper.describe() == {"a": "file"}
    elif member == "require_training" and not wrapper.trains:
        with pytest.raises(Exception, match="can play, but not train"):
            wrapper.require_training()
    else:
        ask, noted = ASKED[member]
        ask(wrapper)
        assert inner.asked == [noted]


def test_what_is_set_on_a_wrapper_is_its_own() -> None:
    wrapper = WrappedPolicy(Inner())
    wrapper.spec = "own"
    assert (wrapper.spec, wrapper.policy.spec) == ("own", VALUES["spec"])


def test_a_wrapper_stays_around_the_player_of_a_case() -> None:
    class Player(Inner):
        spec = "player"

    class PerCase(Inner):
        def for_case(self, case: Case) -> Policy:
            return Player()

        def with_adapter(self, name: str, path: Path) -> Policy:
            return Player()

    class Loud(WrappedPolicy):
        loud = True

    wrapper = Loud(PerCase())
    for other in (wrapper.for_case(CASE), wrapper.with_adapter("a", Path("b"))):
        assert isinstance(other, Loud)
        assert other is not wrapper
        assert other.spec == "player"
    same = Loud(Inner())
    assert same.for_case(CASE) is same


def test_a_policy_that_asks_another_one_is_a_wrapper() -> None:
    found = []
    for path, _, tree in sources(ROOT):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name != "WrappedPolicy":
                bases = {ast.unparse(base) for base in node.bases}
                if "Policy" in bases and _asks_another(node):
                    found.append(f"{path}: {node.name}")
    assert found == []


def _asks_another(node: ast.ClassDef) -> bool:
    """Whether a class calls `self.SOMETHING.act(...)`."""
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "act"
        and isinstance(call.func.value, ast.Attribute)
        and ast.unparse(call.func.value.value) == "self"
        for call in ast.walk(node)
    )


def test_only_a_team_wraps_a_team() -> None:
    team = load_policy("majority:3:scripted:oracle")
    with pytest.raises(UserError, match="is a consultation, of whose replies WrappedPolicy"):
        WrappedPolicy(team)
    for trajectory in collect([CASE], load_policy(f"majority:2:{team.spec}"), Rules(view_size=64)):
        assert trajectory.correct
