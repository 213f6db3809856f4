"""Connections to a server: proxies of the environment, and sessions that nobody closes."""

import gc
from typing import Any

import pytest

from medgym.agents.openai.http import Endpoint
from medgym.errors import UserError
from tests.serving.fake_server import Server, models

ELSEWHERE = "http://example.org:8000"


def endpoint(url: str) -> Endpoint:
    return Endpoint(url, key=None, concurrency=1, timeout=20, retries=0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_proxy_is_named_with_or_without_http(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.routes[f"{ELSEWHERE}/v1/models"] = models("other")
    place = server.url.partition("://")[2].partition("/")[0]
    for proxy in (place, f"http://{place}"):
        monkeypatch.setenv("http_proxy", proxy)
        asked = endpoint(ELSEWHERE)
        assert "data" in asked.wait(asked.ask("GET", f"{ELSEWHERE}/v1/models"))
        asked.close()


def test_a_proxy_of_another_kind_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://user:secret@127.0.0.1:9")
    with pytest.raises(UserError) as error:
        endpoint(ELSEWHERE)
    assert str(error.value) == (
        "the environment names a socks5 proxy for example.org; fix: name an HTTP proxy, or set "
        "NO_PROXY=example.org"
    )
    monkeypatch.setenv("no_proxy", "example.org:8000")
    endpoint(ELSEWHERE)


def test_an_endpoint_that_nobody_closes_writes_nothing(
    server: Server, caplog: pytest.LogCaptureFixture, recwarn: Any
) -> None:
    left = endpoint(server.url)
    left.wait(left.ask("GET", f"{server.url}/models", want_json=False))
    del left
    gc.collect()
    assert "Unclosed" not in caplog.text
