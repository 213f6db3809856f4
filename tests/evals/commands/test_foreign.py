"""`medgym eval` of a model that was not trained here: prompt, tokens, cost; against a server."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from medgym.cli import main
from medgym.evals.evaluating import judging
from medgym.evals.model_judge import asking
from medgym.evals.outcomes.table import read_outcomes
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from tests.serving.fake_server import CHAT, Handler, Server, running

Capture = pytest.CaptureFixture[str]
CASES = "phantom,look=ct,question=kind:test[:3]"
USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 400},
}
PRICES = '["base"]\ninput = 2.5\noutput = 10\n'


def says(handler: Handler, body: Any) -> None:
    choice = {"message": {"content": "<answer>A</answer>"}, "finish_reason": "stop"}
    handler.say({"choices": [choice], "usage": USAGE})


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.routes[CHAT] = says
        yield server


def words(server: Server, *more: str, model: str = "base") -> list[str]:
    return ["eval", CASES, "--policy", f"openai:{server.url}#{model}", *more]


def test_tokens_and_cost_are_in_the_table_and_in_the_results(
    server: Server, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(judging, "progress", lambda *a: _Listening(shown))
    more = ("--prices", str(prices), "--out", str(tmp_path / "run"))
    assert main(words(server, *more)) == 0
    out = capsys.readouterr().out
    assert "tokens read        3,000\n  of these cached  1,200\ntokens written     60\n" in out
    assert "cost               0.0081\n" in out
    assert shown[-1]["tokens"] == 3_060
    assert shown[-1]["cost"] == pytest.approx(0.0081)
    assert shown[-1]["accuracy"] == "0.0 % (0.0 to 56.1)"
    assert set(server.bodies(CHAT)[-1]) >= {"temperature"}
    assert server.bodies(CHAT)[-1]["temperature"] == 0  # greedy, where nothing else is asked for
    usage = {
        "prompt_tokens": 3_000, "completion_tokens": 60, "episodes": 3, "cached_tokens": 1_200,
        "cost": 0.0081,
    }  # fmt: skip
    assert _usage(tmp_path / "run") == usage
    assert read_results(tmp_path / "run")["prices"] == {"base": {"input": 2.5, "output": 10.0}}
    outcomes = read_outcomes(tmp_path / "run") or []
    counted = {(each.input_tokens, each.output_tokens, each.cached_tokens) for each in outcomes}
    assert counted == {(1_000, 20, 400)}
    assert main(["score", str(tmp_path / "run"), "--json"]) == 0
    (scored,) = json.loads(capsys.readouterr().out)["benchmarks"].values()
    assert scored["usage"] == usage
    # What was counted is stored, so that an evaluation that is resumed comes to the same.
    stored = RunFolder.open(tmp_path / "run").trajectories
    assert {(each.prompt_tokens, each.completion_tokens) for each in stored} == {(1_000, 20)}


def test_what_a_judge_takes_is_counted_apart(
    server: Server, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices, run = tmp_path / "prices.toml", tmp_path / "run"
    prices.write_text(PRICES)
    judge = ("--judged-by", f"openai:{server.url}#grader", "--judge-all")
    more = ("--prices", str(prices), "--out", str(run), *judge)
    assert main(words(server, *more)) == 2
    assert 'has no price for grader; fix: add a table ["grader"]' in capsys.readouterr().err
    prices.write_text(PRICES + '["grader"]\ninput = 1\noutput = 5\n')
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(asking, "progress", lambda *a: _Listening(shown))
    assert main(words(server, *more)) == 0
    assert _usage(run)["cost"] == 0.0081, "as without a judge"
    out = capsys.readouterr().out
    took = "3,000 tokens read (1,200 of them cached), 60 written, in 3 replies"
    assert " ".join(out.partition("took")[2].split("cost")[0].split()) == took
    assert out.partition("took")[2].partition("cost")[2].split()[0] == "0.0033"
    assert (shown[-1]["tokens"], shown[-1]["cost"]) == (3_060, pytest.approx(0.0033))
    (policy,) = read_results(run)["policies"].values()
    usage = policy["greedy"]["judged_by"]["usage"]
    assert usage == {
        "prompt_tokens": 3_000, "completion_tokens": 60, "replies": 3, "cached_tokens": 1_200,
        "cost": 0.0033,
    }  # fmt: skip
    assert f"judge openai:{server.url}#grader" in (run / "report.html").read_text("utf-8")
    server.routes.clear()  # what is kept says what it took
    assert main(["score", str(run), *judge, "--json"]) == 0
    (scored,) = json.loads(capsys.readouterr().out)["benchmarks"].values()
    assert scored["judged_by"]["usage"] == usage


def test_a_model_that_hardly_answers_is_shown_a_way_and_secrets_are_in_no_file(
    server: Server, tmp_path: Path, capsys: Capture
) -> None:
    choice = {"message": {"content": "It is A."}, "finish_reason": "stop"}
    server.routes[CHAT] = lambda handler, body: handler.say({"choices": [choice]})
    run = tmp_path / "run"
    url = f"openai:{server.url}?extra=" + quote('{"provider": {"api_key": "very-secret-1"}}')
    asked = ["eval", CASES, "--policy", f"{url}#base", "--max-turns", "1", "--out", str(run)]
    assert main(asked) == 0
    captured = capsys.readouterr()
    assert "With ?tools=native in its spec" in captured.out
    assert server.bodies(CHAT)[-1]["provider"] == {"api_key": "very-secret-1"}
    written = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    assert not any(b"very-secret-1" in each for each in written)
    assert any(b"extra=" in each for each in written)
    assert "very-secret-1" not in captured.out + captured.err
    assert _usage(run) is None  # a server that counts nothing


class _Listening:
    def __init__(self, shown: list[dict[str, Any]]) -> None:
        self._shown = shown

    def __enter__(self) -> Any:
        return lambda n, **figures: self._shown.append(figures)

    def __exit__(self, *error: object) -> None:
        pass


def _usage(run: Path) -> Any:
    (policy,) = json.loads((run / "results.json").read_text())["policies"].values()
    return policy["greedy"].get("usage")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (PRICES.replace("base", "other"), r'has no price for base; fix: add a table ["base"]'),
        ("", "has no prices; fix: "),
        ('["base"]\ninput = -1\noutput = 2\n', "the price of 'base' in "),
        ('["base"]\ninput = 1\n', "the price of 'base' in "),
        ("base = 3", "the price of 'base' in "),
        ("[", "cannot be read"),
    ],
)
def test_prices_that_are_none_are_refused_before_anything_is_played(
    server: Server, tmp_path: Path, capsys: Capture, written: str, said: str
) -> None:
    (tmp_path / "p.toml").write_text(written)
    more = ("--prices", str(tmp_path / "p.toml"), "--out", str(tmp_path / "run"))
    assert main(words(server, *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_prompt_stands_before_the_instructions_and_in_all_records(
    server: Server, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "own.txt").write_text("You are a radiologist.\n")
    run = tmp_path / "own"
    assert main(words(server, "--prompt", str(tmp_path / "own.txt"), "--out", str(run))) == 0
    system = server.bodies(CHAT)[-1]["messages"][0]["content"]
    assert system.startswith("You are a radiologist.\nAnswer the question")
    assert tomllib.loads(RunFolder.open(run).recipe)["prompt"] == "You are a radiologist."
    assert json.loads((run / "results.json").read_text())["prompt"] == "You are a radiologist."
    # Other words are another run, and are compared as such.
    assert main(words(server, "--prompt", "Look twice, please.", "--out", str(run))) == 2
    assert "prompt" in capsys.readouterr().err
    plain, other = tmp_path / "plain", tmp_path / "other"
    assert main(words(server, "--out", str(plain))) == 0
    assert main(words(server, "--out", str(other), model="second")) == 0
    capsys.readouterr()
    assert main(["compare", str(plain), str(run)]) == 0  # the prompt is what differs on purpose
    assert "differs in prompt: none and You are a radiologist." in capsys.readouterr().out
    assert main(["compare", str(plain), str(other)]) == 0
    assert "differs in prompt" not in capsys.readouterr().out
    assert main(["compare", str(other), str(run)]) == 2
    assert "differ in their policy and in their prompt" in capsys.readouterr().err
    assert main(["compare", str(other), str(run), "--own-prompts"]) == 0


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("prompts/own.txt", "there is no file 'prompts/own.txt' with a prompt; fix: "),
        ("empty.txt", "is empty; fix: "),
        ("long " * 4_000, "have over 16384 characters; fix: shorten"),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text(" \n")
    assert main(["eval", CASES, "--policy", "scripted:prior", "--prompt", prompt]) == 2
    assert said in capsys.readouterr().err


def test_the_roles_of_a_consultation_keep_their_prompts(capsys: Capture, tmp_path: Path) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(
        "[consultation]\nopinions = 1\n"
        + "".join(
            f'[roles.{role}]\npolicy = "scripted:oracle"\n'
            for role in ("triage", "specialist", "attending")
        )
    )
    asked = ["eval", CASES, "--policy", f"consultation:{recipe}", "--prompt", "Look twice."]
    assert main(asked) == 2
    assert "fix: omit --prompt, and write it there" in capsys.readouterr().err
