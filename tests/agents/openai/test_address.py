"""The URL of an endpoint: a password in it is never shown, and never read as anything else."""

import json

import pytest

from medgym.agents.openai.address import read_address, secrets_of, without
from medgym.cli import main


def test_an_address_is_taken_apart() -> None:
    url, model, options = read_address("http://me:p%2Fw@h:80/v1/?retries=1#a%40b", "triage")
    assert (url, model, options) == ("http://me:p%2Fw@h:80/v1", "a@b", "retries=1")


@pytest.mark.parametrize(
    "address",
    [
        "http://user:SECRETPW@127.0.0.1:9/v1",
        "http://user:SECRETPW@127.0.0.1:9/v1#m@",
        "http://user:SECRETPW@127.0.0.1:9/v1#m@a@b",
        "http://user:SEC/RETPW@127.0.0.1:9/v1#m",
        "http://user:SEC#RETPW@127.0.0.1:9/v1#m",
        "http://user:SEC?RETPW@127.0.0.1:9/v1#m",
        "http://user:1/RETPW@127.0.0.1:9/v1#m",
        "http://user:1#RETPW@127.0.0.1:9/v1#m",
        "http://user:1?RETPW@127.0.0.1:9/v1#m",
        "user:SECRETPW@127.0.0.1:9/v1#m",
        "user:SECRETPW@127.0.0.1:9/v1",
        "user:SECRETPW@",
        "ftp://user:SECRETPW@127.0.0.1/v1#m",
        "http://user:SECRETPW@[::1/v1#m",
        "http://user:SECRETPW@127.0.0.1:9/v1?api_key=SECRET&x=1#m",
    ],
)
def test_a_password_is_never_shown(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "phantom:test", "--policy", f"openai:{address}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert any(way in said for way in ("; fix: ", "; did you mean ", "; known: "))
    assert "SEC" not in said
    assert "RETPW" not in said


def test_what_a_server_repeats_is_taken_out() -> None:
    secrets = secrets_of('me:a/"password', "key-of-the-user")
    body = rb'{"a": "a\/\"password", "b": "a/\"password", "c": "Bearer key-of-the-user"}'
    assert (
        without(secrets, body)
        == b'{"a": "[redacted]", "b": "[redacted]", "c": "Bearer [redacted]"}'
    )
    assert secrets_of("", "none") == (), "a word of any text"


@pytest.mark.parametrize("upper", [False, True])
def test_a_secret_with_escaped_letters_is_taken_out_as_well(upper: bool) -> None:
    password = 'd\u00e9j\u00e0-"vu'
    secrets = secrets_of(f"me:{password}", "key-of-the-user")
    hexadecimal = "%04X" if upper else "%04x"
    for secret in (password, "key-of-the-user"):
        escaped = "".join(f"\\u{hexadecimal % ord(letter)}" for letter in secret)
        body = f'{{"a": "{escaped}", "b": "\\\\u0041 \\n\\u00E9"}}'.encode()
        assert json.loads(without(secrets, body)) == {"a": "[redacted]", "b": "\\u0041 \n\u00e9"}
