"""Whatever a server answers: no hang, no traceback, one line that says which server did what."""

import asyncio
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from medgym.agents.openai.bodies import Refused
from medgym.agents.openai.capabilities import find_capabilities, served_models
from medgym.agents.openai.http import Endpoint
from medgym.agents.openai.policy import OpenAIPolicy
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.policy import load_policy
from tests.serving.fake_server import CHAT, Server, ask, failing, models, running
from tests.serving.hostile import (
    BODIES,
    CHOICES,
    LISTS,
    SLOW,
    WITHHELD,
    Script,
    endless,
    gzip_bomb,
    message,
    raw,
    value,
)

LIST = "/v1/models"


@pytest.fixture(scope="module")
def hostile() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def endpoint(hostile: Server) -> Iterator[Callable[[float], Endpoint]]:
    """An endpoint by the seconds that an answer may take: one that hangs ends by them, and a busy
    machine needs some for all else."""
    made = {
        seconds: Endpoint(hostile.url, key=None, concurrency=4, timeout=seconds, retries=0)
        for seconds in (0.5, 60.0)
    }
    yield made.__getitem__
    for each in made.values():
        each.close()


@pytest.fixture(scope="module")
def players(hostile: Server) -> Iterator[Callable[[float], OpenAIPolicy]]:
    """Policies that have been checked, by seconds as well."""
    hostile.routes[LIST] = models("other", "base")
    made: dict[float, Any] = {}
    for seconds in (0.5, 60.0):
        made[seconds] = load_policy(f"openai:{hostile.url}?timeout=60&retries=0#base")
        asyncio.run(made[seconds].check())
        made[seconds]._endpoint._timeout = seconds  # from here on: the check may take its time
    yield made.__getitem__
    for each in made.values():
        each.close()


def one_line(error: BaseException, server: Server) -> str:
    text = str(error)
    assert server.url in text
    assert text.isprintable()
    assert len(text) < 450
    return text


def listed(endpoint: Endpoint) -> Any:
    return endpoint.wait(served_models(endpoint))


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_of_no_use(hostile: Server, endpoint: Any, players: Any, name: str) -> None:
    """As a reply it is a failure of the policy, as a list of models an error for the user."""
    script, said = BODIES[name]
    seconds = 0.5 if name in SLOW else 60.0
    hostile.routes |= {LIST: script, CHAT: script}
    with pytest.raises(Failure, match=said) as failed:
        ask(players(seconds))
    assert one_line(failed.value, hostile).startswith("policy: ")
    with pytest.raises(UserError, match=said) as refused:
        listed(endpoint(seconds))
    told = one_line(refused.value, hostile)
    assert "; fix: " in told
    assert told.startswith("nothing answers") == (name in SLOW)


@pytest.mark.parametrize(
    ("encoding", "window"),
    [("gzip", 16 + zlib.MAX_WBITS), ("deflate", zlib.MAX_WBITS), ("deflate", -zlib.MAX_WBITS)],
)
def test_a_packed_body_is_read(hostile: Server, endpoint: Any, encoding: str, window: int) -> None:
    packer = zlib.compressobj(wbits=window)
    body = packer.compress(b'{"data": [{"id": "base"}]}') + packer.flush()
    hostile.routes[LIST] = raw(body, Content_Encoding=encoding)
    assert listed(endpoint(60.0)) == {"base": {"id": "base"}}


@pytest.mark.parametrize("name", CHOICES)
def test_an_answer_without_a_reply(hostile: Server, players: Any, name: str) -> None:
    hostile.routes[CHAT], said = CHOICES[name]
    with pytest.raises(Failure, match=said) as failed:
        ask(players(60.0))
    assert one_line(failed.value, hostile).startswith("policy: ")


@pytest.mark.parametrize("name", WITHHELD)
def test_a_reply_that_is_withheld_is_no_reply(hostile: Server, players: Any, name: str) -> None:
    hostile.routes[CHAT], said = WITHHELD[name]
    asked = len(hostile.asked)
    with pytest.raises(Failure, match=f"^{said}") as failed:
        ask(players(60.0))
    assert one_line(failed.value, hostile).startswith(f"{failed.value.withheld}: ")
    assert failed.value.boundary == "policy"
    assert failed.value.final == (failed.value.withheld != "empty")
    assert len(hostile.asked) == asked + 1


def test_a_reply_of_nothing_is_the_policys_own(hostile: Server, players: Any) -> None:
    """A model may end its reply at once, or spend all its tokens on a thought that is not shown."""
    cut = value({"choices": [{"message": {"content": None}, "finish_reason": "length"}]})
    hostile.scripted(message(content=""), cut, message(content=None, reasoning="hm"))
    replies = [ask(players(60.0)) for _ in range(3)]
    assert [(reply.text, reply.cut) for reply in replies] == [
        ("", False), ("", True), ("<think>hm</think>", False)
    ]  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_models_that_is_none(hostile: Server, endpoint: Any, name: str) -> None:
    hostile.routes[LIST] = LISTS[name]
    with pytest.raises(UserError, match="is not an OpenAI-compatible server") as refused:
        listed(endpoint(60.0))
    one_line(refused.value, hostile)


def _logprob(written: str) -> Script:
    content = '{"choices": [{"logprobs": {"content": [{"logprob": %s}]}}], "prompt_token_ids": [1]}'
    return raw((content % written).encode())


@pytest.mark.parametrize(
    "garbage",
    [value(None), value({"tokens": 3, "choices": 3}), *map(_logprob, ('"x"', "1" + "0" * 400))],
    ids=["null", "numbers", "a text", "a huge number"],
)
def test_probes_that_are_answered_by_garbage_find_nothing(
    hostile: Server, endpoint: Any, garbage: Script
) -> None:
    entry = {"id": "base", "owned_by": "vllm", "root": "x" * 10**5, "parent": ["base"]}
    hostile.routes |= {LIST: value({"data": [entry]}), CHAT: garbage, "/tokenize": garbage}
    hostile.routes["/inference/v1/generate"] = garbage
    found = endpoint(60.0).wait(find_capabilities(endpoint(60.0), "base"))
    assert (found.takes_ids, found.returns_ids, found.exact_logprobs) == (False,) * 3
    assert (found.root, found.vision_words) == ("", ())


def test_a_list_of_very_many_models_is_not_searched_for_ever(
    hostile: Server, endpoint: Any
) -> None:
    names = (*(f"{n}" * 10**4 for n in range(200)), "a\nb", *map(str, range(9799)), "base")
    hostile.routes |= {LIST: models("vllm", *names)}
    with pytest.raises(UserError, match="unknown model") as refused:
        endpoint(60.0).wait(find_capabilities(endpoint(60.0), "bass"))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 10_000


@pytest.mark.parametrize("script", [endless, gzip_bomb])
def test_no_body_fills_the_memory(hostile: Server, players: Any, script: Script) -> None:
    hostile.scripted(failing(400), script)
    with pytest.raises(Failure):
        ask(players(60.0))
    tracemalloc.start()
    try:
        with pytest.raises(Failure, match="a body of over"):
            ask(players(60.0))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 48 * 2**20


def test_an_answer_may_be_as_long_as_its_tokens_need(
    hostile: Server, endpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.agents.openai.http.MOST", 2**20)
    hostile.routes[CHAT] = value("x" * (3 * 2**19))
    url, asked = f"{hostile.url}/chat/completions", endpoint(60.0)
    with pytest.raises(Refused, match="a body of over 1 MiB"):
        asked.wait(asked.ask("POST", url, {}, tokens=100))
    assert len(asked.wait(asked.ask("POST", url, {}, tokens=1024))) == 3 * 2**19


@pytest.mark.parametrize("key", ["schlüssel", "sk-1 ", "sk-1\nsk-2", "“sk-1”"])
def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MEDGYM_API_KEY", key)
    with pytest.raises(UserError, match=r"^the API key has .*; fix: set MEDGYM_API_KEY") as refused:
        load_policy("openai:http://127.0.0.1:9/v1#base")
    assert key.strip() not in str(refused.value)
