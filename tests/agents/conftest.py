"""A server for the tests of `openai:`, and policies that ask it and are closed behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from medgym.agents.openai.policy import OpenAIPolicy
from medgym.policy import load_policy
from tests.serving.fake_server import Server, running


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("medgym.agents.openai.http.FIRST_DELAY", 0.01)
    with running() as server:
        yield server


@pytest.fixture
def policy(server: Server) -> Iterator[Callable[..., Any]]:
    made: list[OpenAIPolicy] = []

    def make(options: str = "", model: str = "base") -> OpenAIPolicy:
        policy = load_policy(f"openai:{server.url}{options}#{model}")
        assert isinstance(policy, OpenAIPolicy)
        made.append(policy)
        return policy

    yield make
    for each in made:
        each.close()
