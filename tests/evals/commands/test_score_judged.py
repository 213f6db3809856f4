"""`medgym score --judged-by`: a judge beside the rules, of a stored run, against a server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import AnswerType, Case, write_cases
from medgym.cli import main
from medgym.evals.model_judge.replies import REPLIES
from medgym.evals.outcomes.table import OUTCOMES
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Node, Trajectory, of_case
from tests.serving.fake_server import CHAT, Handler, Server, running

Capture = pytest.CaptureFixture[str]

SAYS = {"yes": "right", "no": "wrong", "a round shadow": "partly", "unclear": "I cannot say."}


def grades(handler: Handler, body: Any) -> None:
    """Grades by the answer only; anything else is right."""
    asked = body["messages"][-1]["content"]
    asked = "" if asked == "?" else json.loads(asked.splitlines()[0])["answer"]  # is it there?
    said = SAYS.get(asked.lower(), "right")
    handler.say({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})


def breaks(handler: Handler, body: Any) -> None:
    """Fails, but where the answer is yes."""
    asked = body["messages"][-1]["content"]
    if asked == "?" or '"answer": "yes"' in asked:
        grades(handler, body)
    else:
        handler.say({"error": {"message": "no"}}, 400)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.routes[CHAT] = grades
        yield server


def case(number: int, answer: str, answer_type: AnswerType) -> Case:
    return Case(
        id=f"own/test/{number}", images=(), question=f"What is number {number}?", answer=answer,
        answer_type=answer_type, group=f"g{number}", source="own", split="test",
    )  # fmt: skip


PLAYED: tuple[tuple[str, AnswerType, str], ...] = (
    ("a round shadow", "open", "a round shadow"), ("an oval shadow", "open", "a round shadow"),
    ("nothing", "open", "unclear"), ("yes", "closed", "yes"), ("no", "closed", "yes"),
    ("yes", "closed", "no"),
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three open answers and three closed ones, as `medgym eval` stores them."""
    cases = [case(n, gold, kind) for n, (gold, kind, _) in enumerate(PLAYED)]
    write_cases(cases, tmp_path / "cases.jsonl")
    folder = RunFolder.create(tmp_path / "run", {"cases": str(tmp_path / "cases.jsonl")})
    folder.trajectories.write([
        Trajectory(
            each.id, "x", 0, 0, "text", (Node(-1, "user", "?"), Node(0, "assistant", said)),
            answer=said, reward=0.0, terminated=True, **of_case(each),
        )
        for each, (_, _, said) in zip(cases, PLAYED, strict=True)
    ])  # fmt: skip
    folder.finish()
    return tmp_path / "run"


def asked_of(server: Server) -> list[Any]:
    """The requests to judge something."""
    return [body for body in server.bodies(CHAT) if body["messages"][-1]["content"] != "?"]


def scored(run: Path, server: Server, capsys: Capture, *more: str) -> dict[str, Any]:
    words = ["score", str(run), "--judged-by", f"openai:{server.url}#m", "--json", *more]
    assert main(words) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)["benchmarks"][""]
    return figures


def test_a_judge_stands_beside_the_rules(run: Path, server: Server, capsys: Capture) -> None:
    assert main(["score", str(run)]) == 0
    capsys.readouterr()
    before = (run / OUTCOMES).read_bytes()
    figures = scored(run, server, capsys)
    judged = figures["judged_by"]
    assert judged["judge"] == f"openai:{server.url}#m"
    assert judged["prompt"] == "answer-1"
    assert len(judged["prompt_sha256"]) == 64
    assert judged["verdicts"] == {"partly": 2, "unparsed": 1}
    # The unparsed one is left out, and counted apart.
    assert (judged["right"]["value"], judged["right"]["n"]) == (0, 2)
    assert (judged["right or partly"]["value"], judged["right or partly"]["n"]) == (1, 2)
    # Only the exact answer is decided by a rule, so that there is no kappa.
    assert judged["agreement"]["share"]["n"] == 1
    assert judged["agreement"]["table"] == [{"rule": "right", "partly": 1}]
    assert len(asked_of(server)) == 3
    assert figures["accuracy"]["value"] == pytest.approx(2 / 6)
    assert (run / OUTCOMES).read_bytes() == before  # the rules' verdicts are as they were
    body = asked_of(server)[0]
    assert body["temperature"] == 0
    assert "a round shadow" in body["messages"][-1]["content"]

    every = scored(run, server, capsys, "--judge-all")["judged_by"]
    assert len(asked_of(server)) == 6  # only the closed ones are new
    assert every["verdicts"] == {"partly": 2, "right": 2, "wrong": 1, "unparsed": 1}
    table = {row["rule"]: row for row in every["agreement"]["table"]}
    assert table["right"] == {"rule": "right", "partly": 1, "right": 1}
    assert table["wrong"] == {"rule": "wrong", "right": 1, "wrong": 1}
    assert every["agreement"]["kappa"]["value"] == pytest.approx(0)


def test_a_second_scoring_asks_nothing_even_where_the_judge_is_gone(
    run: Path, server: Server, capsys: Capture
) -> None:
    first = scored(run, server, capsys)
    server.asked.clear()
    server.routes.clear()
    assert scored(run, server, capsys) == first
    assert server.asked == []
    assert main(["score", str(run), "--judged-by", f"openai:{server.url}#m"]) == 0
    shown = capsys.readouterr().out
    assert "1: unparsed 1; left out\n" in shown
    assert "0.00 (no interval: nothing says how much groups differ)\n" in shown


def test_a_judge_that_fails_is_one_line_and_what_it_said_is_kept(
    run: Path, server: Server, capsys: Capture
) -> None:
    server.routes[CHAT] = breaks
    words = ["score", str(run), "--judged-by", f"openai:{server.url}#m", "--judge-all"]
    assert main(words) == 1
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert "answers 400" in error
    assert "so far, which are kept: 2; fix: remove the cause" in error
    assert len((run / REPLIES).read_text().splitlines()) == 2
    server.routes[CHAT] = grades
    assert scored(run, server, capsys, "--judge-all")["judged_by"]["verdicts"]["right"] == 2


def test_what_there_is_nothing_of_to_judge_is_said(
    run: Path, capsys: Capture, server: Server
) -> None:
    assert main(["score", str(run), "--judge-all"]) == 2
    assert "fix: add --judged-by SPEC" in capsys.readouterr().err


def test_an_evaluation_is_judged_after_it_was_played(
    tmp_path: Path, server: Server, capsys: Capture
) -> None:
    cases = [case(n, gold, kind) for n, (gold, kind, _) in enumerate(PLAYED[:4])]
    write_cases(cases, tmp_path / "cases.jsonl")
    run = tmp_path / "run"
    words = ["eval", str(tmp_path / "cases.jsonl"), "--policy", "scripted:prior", "--no-tools"]
    judge = ["--judged-by", f"openai:{server.url}#m"]
    server.routes[CHAT] = lambda handler, body: (
        grades(handler, body)
        if body["messages"][-1]["content"] == "?"
        else handler.say({"error": {"message": "no"}}, 400)
    )
    # A judge that fails does not finish the run; without a folder, what was played is printed.
    assert main([*words, *judge, "--out", str(run)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert RunFolder.open(run).manifest["status"] == "running"
    assert main([*words, *judge]) == 1
    assert "accuracy  " in capsys.readouterr().out
    server.routes[CHAT] = grades
    assert main([*words, *judge, "--out", str(run)]) == 0
    assert "judged by" in capsys.readouterr().out
    judgement = read_results(run)["policies"]["scripted:prior"]["greedy"]
    assert judgement["judged_by"]["verdicts"] == {"wrong": 2, "right": 1}
    assert judgement["accuracy"]["n"] == 4
    figures = scored(run, server, capsys)["judged_by"]
    assert figures == judgement["judged_by"]
    # A judge that is not there is named before anything is played.
    server.routes.clear()
    assert main([*words, *judge, "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
