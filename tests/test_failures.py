"""What records keep of an exception: its type and its place, and its text only if asked for."""

import json
import re

import pytest

from medgym.errors import ToolError
from medgym.failures import Failure, at

SAID = "cannot open /data/DOE^JOHN/1.dcm of patient DOE^JOHN"


def failure(error: Exception) -> str:
    with pytest.raises(Failure) as caught, at("tool"):
        raise error
    return str(caught.value)


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, ValueError, FileNotFoundError])
def test_the_text_of_an_exception_is_not_kept(kind: type[Exception]) -> None:
    assert re.fullmatch(rf"tool: {kind.__name__} at test_failures\.py:\d+", failure(kind(SAID)))


def test_what_the_system_says_of_an_error_is_kept_without_the_path() -> None:
    said = failure(OSError(28, "No space left on device", "/data/DOE^JOHN/1.dcm"))
    assert re.fullmatch(r"tool: OSError: No space left on device at test_failures\.py:\d+", said)


def test_a_text_in_the_place_of_the_system_s_is_not_kept() -> None:
    assert re.fullmatch(r"tool: OSError at test_failures\.py:\d+", failure(OSError(5, SAID)))


def test_the_place_is_where_other_code_was_called() -> None:
    with pytest.raises(Failure) as caught, at("tool"):
        json.loads("{")
    assert re.fullmatch(r"JSONDecodeError at test_failures\.py:\d+", caught.value.reason)
    with pytest.raises(Failure) as caught, at("tool"), at("tool"):
        json.loads("{")
    assert caught.value.reason.count("at ") == 1


def test_errors_of_medgym_keep_their_own_text() -> None:
    assert failure(ToolError("no such view")) == "tool: ToolError: no such view"


def test_all_of_it_is_shown_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDGYM_TRACEBACK", "1")
    assert failure(RuntimeError(f"{SAID}\npassword: pl4nted")) == f"tool: RuntimeError: {SAID}"
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last)")
    assert SAID in shown
    assert "pl4nted" not in shown
