"""`bench serving` against a server on this machine that answers as vLLM does."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from medgym.agents.rendering import Renderer
from medgym.benchmarks.serving import measure
from medgym.benchmarks.serving.questions import write_questions
from medgym.benchmarks.serving.tagged import is_right
from medgym.benchmarks.studies.resident import CLEAR
from medgym.cases import open_cases
from medgym.cli import main
from tests.serving.fake_server import FakeVLLM, Server, running

LIMIT = 400
"""Megabytes that a client of a server may take."""


@pytest.fixture
def server(tiny_folder: Path, tiny_processor: Any) -> Iterator[Server]:
    with running() as server:
        FakeVLLM(server, tiny_folder, Renderer(tiny_processor))
        yield server


@pytest.mark.skipif(not CLEAR.exists(), reason="reads /proc")
def test_its_rows_and_what_is_skipped(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[dict[str, Any]] = []
    run = measure._Bench._run

    def keeping(self: Any, *args: Any) -> Any:
        kept.append(run(self, *args))
        return kept[-1]

    small = measure.Sizes(cases=5, rival_cases=5, repetitions=1, side=64)
    monkeypatch.setattr(measure, "Sizes", lambda: small)
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    monkeypatch.setattr(measure._Bench, "_run", keeping)
    assert main(["bench", "serving", f"{server.url}#base", "--json"]) == 0
    said = capsys.readouterr()
    rows = {row["metric"]: row for row in json.loads(said.out)}
    assert list(rows) == [
        f"serving.{name}"
        for name in ("cold", "warm", "first_reply", "cpu", "memory", "most.cold", "most.warm")
    ]
    assert all(row["value"] > 0 and row["rival_value"] > 0 for row in rows.values())
    for name, library in measure.RIVALS.items():
        assert f"skipped: {library} is not installed here; fix: add --{name} PYTHON" in said.err
    ours = [each for each in kept if "heavy" in each]
    assert [each["heavy"] for each in ours] == [[]] * 3, "a client needs neither"
    assert 0 < max(each["memory"] for each in ours) < LIMIT
    # The others sent each question by the request of ours, cold and warm.
    sent = server.bodies("/inference/v1/generate")
    sides = sent[-20:-10], sent[-10:]
    shown = [{body["content_parts"][0]["url"] for body in side} for side in sides]
    assert [len(each) for each in shown] == [5, 5]
    sent = [body for side in sides for body in side]
    assert {json.dumps(body["token_ids"]) for body in sent} == {
        json.dumps(ours[0]["request"]["body"]["token_ids"])
    }
    assert [each["right"] for each in ours[1:]] == [
        {f"served/test/{index}": index % 4 == 0 for index in range(5)}
    ] * 2


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("<answer>A</answer>", True),
        ("I see. <answer> striated </answer>", True),
        ('<tool_call>{"name": "zoom"<answer>A</answer>', True),  # as the rivals' scorers read it
        ("<answer>B</answer>", False),
        ("<answer>A</answer><answer>A</answer>", False),
        ("A", False),
        ("", False),
    ],
)
def test_all_sides_have_one_verdict(reply: str, right: bool) -> None:
    assert is_right(reply, ("A", "striated")) == right


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "bench serving needs a server; fix: add http://HOST:PORT/v1#MODEL"),
        (["http://x/v1"], "http://x/v1 names no model; fix: write http://x/v1#MODEL"),
        (["http://x/v1#m", "--inspect", "/no/python"], "/no/python is no Python"),
        (["http://x/v1#m", "--verifiers", sys.executable], "has no verifiers; fix: install it"),
    ],
)
def test_what_is_missing_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "serving", *words]) == 2
    assert line in capsys.readouterr().err


def test_only_serving_takes_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "env", "http://x/v1"]) == 2
    assert capsys.readouterr().err == "medgym: bench env takes no http://x/v1; fix: omit it\n"


def test_questions_are_the_same_for_all_sides(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "asked", 3, 32)
    lines = [json.loads(line) for line in questions.chat.read_text("utf-8").splitlines()]
    cases = open_cases(str(questions.cases))
    assert [line["id"] for line in lines] == [case.id for case in cases]
    for line, case in zip(lines, cases, strict=True):
        assert case.images[0].uri.endswith(line["image"])
        assert line["options"]["ABCD".index(line["letter"])] == case.answer
        assert case.question in line["text"]
        assert "<answer>" in line["system"]
