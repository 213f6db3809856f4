"""`medgym hallucination`: of cases that are played, and of a stored run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medgym.agents.scripted.policy import Scripted
from medgym.cases import Case, write_cases
from medgym.cli import main
from medgym.evals.commands.hallucination import STATEMENTS
from medgym.failures import Failure
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Node, Trajectory, of_case
from tests.serving.fake_server import CHAT, Handler, Server, running

Capture = pytest.CaptureFixture[str]
CASES = "phantom,look=ct,size=256:test[:16]"


def figures(capsys: Capture, *words: str) -> dict[str, Any]:
    assert main(["hallucination", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_oracle_hallucinates_nothing_and_a_blind_one_does(capsys: Capture) -> None:
    oracle = figures(capsys, CASES, "--policy", "scripted:oracle")["hallucination"]
    score = oracle["phantoms, by rules"]["MediHall"]
    assert (score["value"], score["high"]) == (1, 1)
    assert 0.3 < score["low"] < 0.95  # a few right answers do not show that all are right
    assert [row["as if there"]["value"] for row in oracle["not there"]] == [0, 0]
    assert [row["share"]["value"] for row in oracle["contradictions"]] == [0, 0, 0, 0]
    blind = figures(capsys, CASES, "--policy", "scripted:prior")["hallucination"]
    score = blind["phantoms, by rules"]["MediHall"]
    assert 0 < score["low"] < score["value"] < score["high"] < 1
    assert all(row["as if there"]["value"] > 0 for row in blind["not there"])
    assert blind["contradictions"] == []  # it never looks


def test_a_run_is_kept_read_again_and_scored_as_any_other(tmp_path: Path, capsys: Capture) -> None:
    run = str(tmp_path / "run")
    words = [CASES, "--policy", "scripted:prior", "--limit", "8"]
    first = figures(capsys, *words, "--out", run)
    assert figures(capsys, run) == first
    assert [row["baseline"] for row in first["baselines"]] == ["constant text", "prior", "chance"]
    judged = figures(capsys, run, "--judged-by", "scripted:prior")["hallucination"]
    agreed = judged.pop("judge")["agreement"]
    assert judged == first["hallucination"]  # of a phantom, rules give the levels
    assert agreed["share"]["n"] == 8
    assert abs(agreed["kappa"]["value"]) < 0.5  # it guesses
    found = read_results(tmp_path / "run")["policies"]["scripted:prior"]["greedy"]
    assert found["hallucination"] == first["hallucination"]
    rows = [json.loads(line) for line in (tmp_path / "run" / STATEMENTS).read_text().splitlines()]
    assert len(rows) == 8 + sum(
        row["as if there"]["n"] for row in found["hallucination"]["not there"]
    )
    assert main(["score", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["benchmarks"][""]["cases"] == 8
    assert main(["hallucination", *words, "--out", run]) == 2
    assert "is done; fix" in capsys.readouterr().err


def test_of_arms_and_of_variants_each_case_counts_once(tmp_path: Path, capsys: Capture) -> None:
    for command, *words in (
        ("eval", "--tools", "on,off"),
        ("robustness", "--variants", "options,text-only"),
    ):
        run = str(tmp_path / command)
        asked = [command, "phantom:test[:4]", "--policy", "scripted:prior", "--out", run]
        assert main([*asked, *words]) == 0
        capsys.readouterr()
        assert figures(capsys, run)["accuracy"]["n"] == 4


def test_where_nothing_is_answered_nothing_is_measured(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(*given: Any) -> Any:
        raise Failure("policy", "no", withheld="refused", final=True)

    monkeypatch.setattr(Scripted, "act", refusing)
    assert main(["hallucination", f"{CASES[:-5]}[:2]", "--policy", "scripted:oracle"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "no case has a reply (refused: " in said.err


def test_what_is_neither_a_run_nor_played_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    for words, said in (
        ([CASES], "no policy plays it; fix: name a run, or add --policy SPEC"),
        ([str(tmp_path)], "is no run folder"),
        ([CASES, "--out", "x"], "fix: omit --out"),
        ([CASES, "--policy", "scripted:prior", "--judged-by", "scripted:oracle"], "cannot judge"),
    ):
        assert main(["hallucination", *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


SAYS = {"left lung": "attribute", "nothing": "I do not know."}


def labels(handler: Handler, body: Any) -> None:
    asked = body["messages"][-1]["content"]
    said = "" if asked == "?" else json.loads(asked.splitlines()[0])["statement"]
    content = SAYS.get(said, "critical")
    handler.say({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.routes[CHAT] = labels
        yield server


def test_a_judge_labels_what_no_rule_can(tmp_path: Path, capsys: Capture, server: Server) -> None:
    golds = {"right lung": "left lung", "heart": "heart", "a mass": "nothing", "fluid": "air"}
    cases = [
        Case(id=f"own/test/{n}", images=(), question="?", answer=gold, answer_type="open",
             group=str(n), source="own", split="test")
        for n, gold in enumerate(golds)
    ]  # fmt: skip
    write_cases(cases, tmp_path / "cases.jsonl")
    folder = RunFolder.create(tmp_path / "run", {"cases": str(tmp_path / "cases.jsonl")})
    folder.trajectories.write([
        Trajectory(
            case.id, "x", 0, 0, "text", (Node(-1, "user", "?"), Node(0, "assistant", said)),
            answer=said, reward=0.0, terminated=True, **of_case(case),
        )
        for case, said in zip(cases, golds.values(), strict=True)
    ])  # fmt: skip
    folder.finish()
    run = str(folder.path)
    without = figures(capsys, run)["hallucination"]
    # Without a judge no score is made of the right answers only.
    assert without == {"answers that only a judge can label": 3, "contradictions": []}
    judge = ("--judged-by", f"openai:{server.url}#m")
    found = figures(capsys, run, *judge)["hallucination"]
    judged = found["other cases, by the judge"]
    assert judged["MediHall"]["value"] == pytest.approx((0.4 + 1 + 0.2) / 3)
    assert judged["statements without a level"] == 1
    assert found["judge"]["no label"] == {"unparsed": 1}
    assert found["judge"]["prompt"] == "medihall-1"
    assert found["judge"]["agreement"] is None
    asked = [body for body in server.bodies(CHAT) if body["messages"][-1]["content"] != "?"]
    assert len(asked) == 3  # the right answer is right by a rule
    assert figures(capsys, run, *judge)["hallucination"] == found
    assert main(["hallucination", run, *judge]) == 0
    shown = capsys.readouterr().out
    assert "not known: no phantom among the cases" in shown
    assert max(map(len, shown.splitlines())) <= 80
