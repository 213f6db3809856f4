"""Secrets are found by the name beside them, by their form and by their value."""

import json
import tomllib
from urllib.parse import quote

import pytest

from medgym.failures import Failure
from medgym.redaction import HIDDEN, is_secret, redact, redact_text, redact_toml, secret_values

KEY = "pl4nted-0f-the-environment"


@pytest.mark.parametrize(
    "text",
    [
        'hub_token = "pl4nted"',
        '{"hub_token": "pl4nted"}',
        r"{\"api_key\": \"pl4nted\"}",
        "{'Authorization': 'Bearer pl4nted'}",
        "Authorization: Basic pl4nted==",
        "the server got: x-api-key: pl4nted, accept: */*",
        "Cookie=pl4nted; path=/",
        "password: pl4nted",
        "no answer to Bearer sk.pl4nted-1",
        "openai:http://me:pl4nted@host/v1#m",
        "openai:http://me:pl4/nted@host/v1",
        "openai:http://me:pl4#nted@host/v1",
        "openai:http://me:12#pl4nted@host/v1#m",
        "openai:http://host/v1?api_key=pl4nted&retries=1#m",
        "Incorrect API key provided: sk-proj-pl4ntedpl4nted",
        f"a proxy said {KEY}",
    ],
)
def test_a_secret_is_hidden(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGYM_API_KEY", KEY)
    shown = redact_text(text)
    assert "pl4" not in shown
    assert "nted" not in shown
    assert redact_text(shown) == shown
    assert "pl4" not in Failure("policy", text).reason


@pytest.mark.parametrize(
    "text",
    [
        "unknown key: 'foo'; did you mean 'food'?",
        "no such token: set one",
        "Bearer token is missing",
        "fix: write key=value",
        "max_tokens: 512, eos_token: '<|im_end|>'",
        "openai:http://host:8000/v1?processor=a@b#base@org/adapter",
        "KeyError: 'choices'",
        "tokenizer=none",
    ],
)
def test_what_is_no_secret_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")  # as servers without keys are given
    monkeypatch.setenv("SSH_TOKEN", "/home/me/tokens")
    assert redact_text(text) == text


def test_names_of_secrets() -> None:
    for name in ("hub_token", "api-key", "X-Api-Key", "accessToken", "Set-Cookie", "key", "secret"):
        assert is_secret(name), name
    for name in ("api_keys", "access_tokens", "auth", "pwd", "x-jwt", "creds"):
        assert is_secret(name), name
    for name in (
        "max_tokens",
        "tokens",
        "author",
        "pad_token",
        "keys",
        "monkey",
        "a/test/1#0",
        "tokenizer",
    ):
        assert not is_secret(name), name


def test_tables_lose_what_stands_under_the_name_of_a_secret() -> None:
    tables = {"grpo": {"hub_token": "s", "max_tokens": 5}, "headers": [{"Cookie": ["a", 1, ""]}]}
    assert redact(tables) == {
        "grpo": {"hub_token": HIDDEN, "max_tokens": 5},
        "headers": [{"Cookie": [HIDDEN, 1, ""]}],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"api_key": "pl4nted"},
        {"credentials": {"user": "pl4nted", "value": ["pl4nted"]}},
        {"a": [{"secrets": ["pl4nted", "pl4nted"]}]},
        {"auth": "pl4nted"},
        {"headers": [{"name": "Authorization", "value": "pl4nted"}]},
        {"hook": "https://me:pl4nted@host/x"},
        {"hook": "https://host/x?a=1&token=pl4nted"},
        {"metadata": '{"api_key": "pl4nted"}'},
    ],
)
def test_a_secret_in_extra_is_hidden_however_it_is_written(body: dict[str, object]) -> None:
    """JSON may have blanks; it may be encoded; an error may repeat a part of it."""
    written = json.dumps(body)
    assert set(secret_values(body)) == {"pl4nted"}
    for text in (written, quote(written)):
        shown = redact_text(f"openai:http://host/v1?retries=0&extra={text}#base and more")
        assert "pl4nted" not in shown
        assert shown.startswith("openai:http://host/v1?retries=0&extra=")
        assert shown.endswith("#base and more")
        assert redact_text(shown) == shown
    for cut in ('"secrets": ["pl4nted", "pl4', '"api_key": "pl4', '\\"api_key\\": \\"pl4'):
        assert "pl4" not in redact_text(f"400: bad request: {{{cut}")


@pytest.mark.parametrize(
    "text",
    [
        '# of our own\n[grpo]\nhub_token = "pl4nted"  # not yours\nmax_steps = 3\n',
        '[grpo]\nhub_token = """\npl4\nnted"""\n',
        '[a]\nkey = "pl4nted"\n',
        '[a]\n"api_key" = \'pl4nted\'\n[a.cookies]\nx = "pl4nted"\n',
        "this is no TOML: password: pl4nted",
    ],
)
def test_a_recipe_keeps_its_text_where_it_can(text: str) -> None:
    shown = redact_toml(text)
    assert "pl4" not in shown
    assert redact_toml(shown) == shown
    if text.startswith("# of"):
        assert shown == text.replace("pl4nted", HIDDEN)
    if "no TOML" not in text:
        assert tomllib.loads(shown) == redact(tomllib.loads(text))
