"""JSON files that are not what is published are named, with the row."""

from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.sources.json_rows import json_objects


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "is no whole JSON file"),
        ('[{"a": ' + "1" * 6000 + "}]", "is no whole JSON file"),
        ('[{"a": "x"}, {"a": ["x"]}]', "row 1 of .*a.json has a list as 'a', and a text is"),
        ('[{"b": "x"}]', "row 0 of .*a.json has no 'a'"),
        ('{"a": "x"}', "is no list of questions"),
    ],
)
def test_what_is_not_published_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        json_objects(path, ["a"])


def test_values_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": 4, "b": null}, {"a": " None ", "b": "007"}]')
    assert json_objects(path, ["a", "b"]) == [{"a": "4", "b": ""}, {"a": "None", "b": "007"}]
