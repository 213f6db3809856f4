"""Specs: what is written is read again, by the text only; what could mean two things is refused."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medgym.errors import UserError
from medgym.spec import (
    encode_value,
    fill_spec,
    flag,
    kinds_of,
    made_with,
    read_options,
    split_adapter,
    split_spec,
    with_adapter,
    without_credentials,
    write_spec,
)

NAMES = st.text("ab@./-_~ %,:=&é", min_size=1, max_size=14)
"""Parts of paths and names, with more signs than sense."""

VALUES = st.text(min_size=1, max_size=10)
HOSTS = ("127.0.0.1:8000", "user:password@host", "a%40b:p@ss@host:8000", "[::1]:80")


@st.composite
def parts(draw: st.DrawFn) -> tuple[str, str, str | None]:
    """Scheme, rest and adapter of any policy."""
    pairs = draw(st.dictionaries(st.sampled_from(("max", "dtype", "file")), VALUES, max_size=2))
    query = "&".join(f"{key}={encode_value(value)}" for key, value in pairs.items())
    options = f"?{query}" if query else ""
    if draw(st.booleans()):
        host = draw(st.sampled_from(HOSTS))
        rest = f"http://{host}/v1{options}#{draw(NAMES)}"
    else:
        rest = f"{draw(NAMES)}{options}"
    return draw(st.sampled_from(("hf", "openai", "x"))), rest, draw(st.none() | NAMES | VALUES)


@given(parts())
def test_what_is_written_is_read_again(given_parts: tuple[str, str, str | None]) -> None:
    assert split_spec(write_spec(*given_parts)) == given_parts


@given(st.text("ab@./?&=#:%, ", max_size=30) | st.text(max_size=30))
def test_any_text_is_read_as_what_writes_it_or_refused_in_one_line(spec: str) -> None:
    said, read = "", None
    try:
        read = split_spec(spec)
    except UserError as error:
        said = str(error)
    assert read is not None or ("; fix: " in said and len(said.splitlines()) == 1)
    if read is None:
        return
    scheme, rest, adapter = read
    if adapter != "":  # which no policy takes
        assert split_spec(write_spec(scheme, rest, adapter)) == (scheme, rest, adapter)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab@.~", min_size=1, max_size=5), min_size=1, max_size=3))
def test_no_folder_changes_what_a_spec_means(tmp_path: Path, names: list[str]) -> None:
    assume(not {".", ".."} & set(names))
    rest = "/".join(names)
    before = _read(rest)
    here = Path.cwd()
    made = tmp_path / "home"
    for place, sign in enumerate(rest + "@"):
        if sign == "@" and rest[:place].strip("/"):
            (made / rest[:place]).mkdir(parents=True, exist_ok=True)
    made.mkdir(exist_ok=True)
    os.chdir(made)
    try:
        assert _read(rest) == before
    finally:
        os.chdir(here)


def _read(rest: str) -> object:
    try:
        return split_adapter(rest)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ("human", ("human", "", None)),
        ("hf:org/model", ("hf", "org/model", None)),
        ("hf:runs/x/cold_start@runs/x/adapters/policy/3",
         ("hf", "runs/x/cold_start", "runs/x/adapters/policy/3")),
        ("hf:base?adapter=runs/x%26y", ("hf", "base", "runs/x&y")),
        ("hf:/home/me@corp/base?adapter=/home/me@corp/3",
         ("hf", "/home/me@corp/base", "/home/me@corp/3")),
        ("hf:/home/me@corp/base?adapter=", ("hf", "/home/me@corp/base", None)),
        ("hf:/home/me@corp/base", ("hf", "/home/me", "corp/base")),
        ("hf:adapter=x", ("hf", "adapter=x", None)),
        ("vllm:base?max_loras=4@lora", ("vllm", "base?max_loras=4", "lora")),
        ("vllm:base@lora?max_loras=4", ("vllm", "base?max_loras=4", "lora")),
        ("vllm:base?max_loras=4&adapter=lora", ("vllm", "base?max_loras=4", "lora")),
        ("openai:http://a:b@h/v1#base@lora", ("openai", "http://a:b@h/v1#base", "lora")),
        ("openai:http://h/@cf/v1?processor=/me@x#@cf/meta",
         ("openai", "http://h/@cf/v1?processor=/me@x#@cf/meta", None)),
        ("openai:http://h/v1?adapter=lora&retries=2#base",
         ("openai", "http://h/v1?retries=2#base", "lora")),
        ("openai:http://a:b@h/v1", ("openai", "http://a:b@h/v1", None)),
        ("majority:3:openai:http://a:b@h/v1#base@lora",
         ("majority", "3:openai:http://a:b@h/v1#base", "lora")),
        ("hf:base@", ("hf", "base", "")),
    ],
)  # fmt: skip
def test_the_grammar_by_example(spec: str, read: object) -> None:
    assert split_spec(spec) == read


@pytest.mark.parametrize(
    "spec",
    [
        "hf:/home/me@corp/base@/home/me@corp/3",
        "hf:base@a@b",
        "vllm:me@corp/base?max_loras=4@lora",
        "openai:http://h/v1#base@a@b",
    ],
)
def test_several_ats_are_refused(spec: str) -> None:
    with pytest.raises(UserError, match=r"^cannot tell which @ .*; fix: write \?adapter=PATH"):
        split_spec(spec)


def test_an_adapter_is_named_once_and_no_password_is_shown() -> None:
    with pytest.raises(UserError, match="names its adapter twice; fix: name it once"):
        split_spec("hf:base?adapter=a&adapter=b")
    with pytest.raises(UserError) as caught:
        split_spec("openai:http://me:secret@h/v1#base@a@b")
    assert "secret" not in str(caught.value)
    assert without_credentials("openai:http://me:p@ss@h/v1#base@a") == "openai:http://h/v1#base@a"


def test_an_adapter_takes_the_place_of_another() -> None:
    assert with_adapter("hf:base", "new") == "hf:base@new"
    assert with_adapter("hf:base@old", "new") == "hf:base@new"
    assert with_adapter("vllm:base?max_loras=4", "new") == "vllm:base?max_loras=4@new"
    assert with_adapter("openai:http://h/v1#base@old", "new") == "openai:http://h/v1#base@new"
    assert with_adapter("hf:base", "b@c") == "hf:base?adapter=b%40c"
    with pytest.raises(UserError, match="; fix: "):
        with_adapter("hf:base", "")


def test_what_fills_a_spec_names_no_adapter_by_accident() -> None:
    assert fill_spec("hf:{here}/cold_start", here="runs/x") == "hf:runs/x/cold_start"
    for spec in ("hf:{here}/a", "hf:{here}/a@{here}/b", "openai:http://h/v1?processor={here}#m"):
        filled = split_spec(fill_spec(spec, here="/me@corp/50%&up"))
        expected = split_spec(spec)
        assert (filled[2] or "") == (expected[2] or "").replace("{here}", "/me@corp/50%&up")
    assert split_spec(fill_spec("hf:{here}/a", here="/me@corp"))[1] == "/me@corp/a"


KINDS = {"good": float, "steps": int, "path": str, "greedy": flag}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "good": st.floats(allow_nan=False),
            "steps": st.integers(),
            "path": VALUES,
            "greedy": st.booleans(),
        },
    ),
    st.sampled_from("&,"),
)
def test_options_that_are_written_are_read_again(values: dict[str, object], separator: str) -> None:
    written = {
        key: str(value).lower() if value in (True, False) and key == "greedy" else str(value)
        for key, value in values.items()
    }
    text = separator.join(f"{key}={encode_value(value)}" for key, value in written.items())
    assert read_options("x", text, KINDS, separator) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("god=1", "unknown option of the thing 'god'; did you mean 'good'?"),
        ("good=1,", "the thing: 'good=1,' has an option without a name; fix: write key=value"),
        ("=1", "the thing: '=1' has an option without a name; fix: write key=value"),
        ("good=1,good=2", "the thing: good is given twice; fix: give it once"),
        ("good", "the thing: good has no value; fix: write good=VALUE"),
        ("path=", "the thing: path has no value; fix: write path=VALUE"),
        ("good=much", "the thing: good='much' is not a number; fix: write one"),
        ("steps=1.5", "the thing: steps='1.5' is not a whole number; fix: write one"),
        ("greedy=yes", "the thing: greedy='yes' is not true or false; fix: write one"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_options("the thing", text, KINDS, ",")
    assert str(caught.value) == said


def test_a_function_s_options_are_of_the_kinds_of_its_defaults() -> None:
    def make(
        name: str, good: float = 1.0, steps: int = 8, greedy: bool = False, **more: int
    ) -> None: ...

    assert kinds_of(make) == {"name": str, "good": float, "steps": int, "greedy": flag}


def test_options_are_those_that_a_class_takes() -> None:
    def make(path: str, *, kind: str = "a") -> tuple[str, str]:
        return path, kind

    assert made_with("table", make, {"path": "x", "kind": "b"}) == ("x", "b")
    with pytest.raises(UserError, match=r"unknown option of table 'kinds'; did you mean 'kind'\?"):
        made_with("table", make, {"path": "x", "kinds": "b"})
    with pytest.raises(UserError, match=r"table needs the option path; fix: write table,path="):
        made_with("table", make, {"kind": "b"})
    assert made_with("any", lambda **options: options, {"a": "b"}) == {"a": "b"}
