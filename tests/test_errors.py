"""What is missing is named with the command that installs it, wherever medgym came from."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import UserError, missing_library, unknown


def failing(code: str, importer: str = "medgym.train.somewhere") -> UserError:
    try:
        exec(code, {"__name__": importer})
    except ImportError as error:
        return missing_library(error)
    raise AssertionError(code)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (None, "'medgym[ray]'"),
        ({"url": "file:///home/me/my%20medgym", "dir_info": {}}, "'/home/me/my medgym[ray]'"),
        ({"url": "file:///src", "dir_info": {"editable": True}}, "-e '/src[ray]'"),
        (
            {"url": "https://host/medgym.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "'medgym[ray] @ git+https://host/medgym.git@abc'",
        ),
        ({"url": "file:///a.whl", "archive_info": {}}, "'medgym[ray] @ file:///a.whl'"),
    ],
)
def test_an_extra_comes_from_where_medgym_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: dict[str, Any] | None, said: str
) -> None:
    info = tmp_path / "medgym-0.1.0.dist-info"
    info.mkdir()
    lines = ("Name: medgym", "Version: 0.1.0", "Requires-Dist: ray>=2.50; extra == 'ray'")
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert str(failing("import ray")) == f"ray is not installed; fix: pip install {said}"


@pytest.mark.parametrize(
    ("library", "extra"),
    [
        ("torch", "train"), ("trl", "train"), ("tokenizers", "openai"), ("aiohttp", "openai"),
        ("vllm", "vllm"), ("pettingzoo", "pettingzoo"), ("ray", "ray"),
    ],
)  # fmt: skip
def test_the_extra_is_the_one_that_brings_the_library(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert f"[{extra}]" in str(failing(f"from {library} import something"))
    other = str(failing(f"from {library} import something", "a_plug_in"))
    assert other == f"{library} is not installed; fix: pip install {library}"


def test_a_library_that_is_there_in_part_is_not_called_missing() -> None:
    for code in ("import json.nowhere", "from json import nothing"):
        said = str(failing(code))
        assert "is not installed" not in said
        assert "fix: install another version of json or of what imports it" in said


def test_an_unknown_name_has_its_nearest_or_all() -> None:
    assert str(unknown("tool", "zom", ["zoom", "crop"])) == (
        "unknown tool 'zom'; did you mean 'zoom'?"
    )
    assert str(unknown("tool", "x", ["zoom", "crop"])) == "unknown tool 'x'; known: crop, zoom"
    assert str(unknown("tool", "x", [])) == "unknown tool 'x'; known: none"
