import json
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.agents.scripted.policy import Scripted
from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.evals import evaluation
from medgym.evals.commands.score import _shown
from medgym.evals.evaluation import Evaluation
from medgym.evals.outcomes.figures import summary
from medgym.evals.outcomes.table import read_outcomes
from medgym.evals.tables import role_rows, rows
from medgym.judge import Judgement, RoleJudgement, load_judge
from medgym.metrics.rate import Rate
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.suite import Suite, load_suite

Capture = pytest.CaptureFixture[str]
ASKED = ["eval", "phantom,question=kind:test[:12]", "--policy"]


def test_the_table_names_the_interval_and_each_answer(capsys: Capture) -> None:
    assert main([*ASKED, "scripted:oracle"]) == 0
    out = re.sub(" +", " ", capsys.readouterr().out)
    assert "accuracy 100.0 % (95 % interval 75.8 to 100.0)" in out
    assert "mean reward 1.100 (outcome)" in out
    assert "hit a gold region 100.0 %" in out
    assert " granular " in out


@pytest.mark.usefixtures("no_progress")
def test_results_have_subgroups_and_calibration_and_a_page(tmp_path: Path, capsys: Capture) -> None:
    words = ["eval", "phantom,question=kind:test[:20]", "--policy", "scripted:random"]
    words += ["--repeats", "2", "--by", "modality"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert "CT *" in out
    assert "agreement" in out
    assert f"page: {tmp_path / 'a' / 'report.html'}" in out
    assert (tmp_path / "a" / "report.html").is_file()
    judged = read_results(tmp_path / "a")["policies"]["scripted:random"]["sampled"]
    assert sum(each["accuracy"]["n"] for each in judged["subgroups"]["modality"].values()) == 40
    assert judged["calibration"]["agreement"]["n"] == 20
    assert main([*words[:-1], "colour"]) == 2
    assert "is no kind of case; fix:" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert main([*ASKED, "scripted:prior", "--out", str(tmp_path / "a")]) == 0
    assert "no page: plotly is not installed; fix: pip install" in (capsys.readouterr().out)
    assert read_results(tmp_path / "a")["command"] == "eval"


@pytest.mark.usefixtures("no_progress")
def test_json_has_the_same_figures_and_nothing_else(capsys: Capture) -> None:
    assert main([*ASKED, "scripted:prior", "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == ""
    assert (told["format"], told["command"], told["cases"]) == (1, "eval", ASKED[1])
    assert (told["seed"], told["tools"], told["rubric"], told["judge"]) == (
        0, ["zoom"], "outcome", "vqa",
    )  # fmt: skip
    assert told["sampling"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512}
    assert told["view_size"] == 64
    found = told["policies"]["scripted:prior"]["greedy"]
    assert found["scorers"] == {"choice": "4"}
    assert found["accuracy"]["n"] == 12
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert (found["answered"], found["looked"], found["hit"]) == (1.0, 0.0, 0.0)


def test_a_run_folder_keeps_what_was_played(tmp_path: Path, capsys: Capture) -> None:
    words = [*ASKED, "scripted:random", "--no-tools", "--seed", "4", "--json"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    printed = json.loads(capsys.readouterr().out)
    folder = RunFolder.open(tmp_path / "a")
    asked = tomllib.loads(folder.recipe)
    assert (asked["temperature"], asked["tools"], asked["seed"]) == (0.0, [], 4)
    assert folder.manifest["counts"] == {"trajectories": 12}
    kept = read_results(folder.path)
    assert list(kept["policies"]["scripted:random"]) == ["greedy"]
    assert kept == {key: value for key, value in printed.items() if key != "out"}
    first = next(iter(folder.trajectories))
    assert folder.images.get(first.nodes[0].images[0].sha256).size == (64, 64)


def test_the_folder_of_another_run_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main([*ASKED, "scripted:prior", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_gold_that_cannot_be_read_is_found_before_anything_is_played(
    tmp_path: Path, capsys: Capture
) -> None:
    case = open_cases(ASKED[1])[0]
    many: dict[str, object] = {"answer": "many", "answer_type": "number", "options": ()}
    write_cases([case.model_copy(update=many)], tmp_path / "c.jsonl")
    words = ["eval", str(tmp_path / "c.jsonl"), "--policy", "scripted:prior"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "is 'many', and its answer_type is number; fix: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_consultation_has_a_line_for_each_role(tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(
        '[consultation]\nopinions = 1\n[roles.triage]\npolicy = "scripted:oracle"\n'
        '[roles.specialist]\npolicy = "scripted:oracle"\n'
        '[roles.attending]\npolicy = "scripted:vote"\n'
    )
    asked = ["eval", "phantom,look=ct,question=kind:test[:4]", "--policy", f"consultation:{recipe}"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    lines = out.partition("\n\n")[2].partition("without looking")[0].splitlines()
    assert lines[0].split() == [
        "role", "episodes", "right", "answered", "failed", "replies", "calls", "tokens", "seconds",
    ]  # fmt: skip
    long = lines.pop(2)  # a name that leaves too little of 80 columns stands above its figures
    assert long == "specialist:radiologist"
    assert len({len(line) for line in lines}) == 1
    assert all("4  100.0 %" in line for line in lines[1:])
    assert [line.split()[0] for line in lines[1:]] == ["triage", "4", "attending"]
    assert main([*asked, "--json"]) == 0
    (policy,) = json.loads(capsys.readouterr().out)["policies"].values()
    roles = policy["greedy"]["roles"]
    assert roles["attending"]["right"]["n"] == 4


def test_the_rubric_gives_the_reward(capsys: Capture) -> None:
    assert main([*ASKED, "scripted:oracle", "--rubric", "grounded,weight=2"]) == 0
    plain = capsys.readouterr().out
    assert "(grounded,weight=2)" in plain
    assert float(plain.partition("mean reward")[2].split()[0]) > 1.1  # the most that outcome pays


SMALL = Suite(
    "small",
    {"kinds": "phantom,question=kind:test[:6]", "sides": "phantom,question=side:test[:4]"},
    rubric="grounded",
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite `small` in the place of `phantom`, whose 800 cases take a while."""
    monkeypatch.setattr("medgym.evals.evaluating.named_suite.load_suite", lambda name: SMALL)


@pytest.mark.usefixtures("small")
def test_a_suite_has_a_line_for_each_benchmark(tmp_path: Path, capsys: Capture) -> None:
    words = ["eval", "phantom", "--policy", "scripted:oracle", "--out", str(tmp_path / "a")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith("page: ")
    heading, *lines = printed.partition("without looking")[0].splitlines()
    assert heading.split()[:3] == ["suite", "small", "cases"]
    assert [line.split()[:3] for line in lines[:2]] == [
        ["kinds", "6", "100.0"],
        ["sides", "4", "100.0"],
    ]
    found = read_results(tmp_path / "a")
    assert (found["suite"], found["rubric"]) == ("small", "grounded")
    kinds = found["benchmarks"]["kinds"]
    assert kinds["cases"] == "phantom,question=kind:test[:6]"
    assert kinds["policies"]["scripted:oracle"]["greedy"]["accuracy"]["n"] == 6
    assert len(list(TrajectoryStore(tmp_path / "a" / "judged" / "sides"))) == 4
    assert main(["view", str(tmp_path / "a")]) == 0


@pytest.mark.usefixtures("small")
def test_an_interrupted_evaluation_resumes_with_what_it_has_stored(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["eval", "phantom", "--policy", "scripted:random", "--json", "--out"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    whole = json.loads(capsys.readouterr().out)["benchmarks"]
    play, collect, played = Evaluation.play, evaluation.collect, []

    def interrupted(self: Evaluation, cases: Any, rules: Any, folder: Any) -> Any:
        for pair in play(self, cases, rules, folder):
            yield pair
            played.append(pair[1].case_id)
            if len(played) == 8:  # in the second benchmark
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "play", interrupted)
        assert main([*words, str(tmp_path / "killed")]) == 130

    def counted(*given: Any, **more: Any) -> Any:
        for trajectory in collect(*given, **more):
            played.append(trajectory.case_id)
            yield trajectory

    monkeypatch.setattr(evaluation, "collect", counted)
    assert main([*words, str(tmp_path / "killed")]) == 0
    assert 8 <= len(played) <= 10, "of ten episodes none is played twice"
    assert json.loads(capsys.readouterr().out)["benchmarks"] == whole
    outcomes = [read_outcomes(tmp_path / name) for name in ("whole", "killed")]
    assert outcomes[0] == outcomes[1]


def test_a_policy_that_answers_in_another_form_gets_a_hint(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = Scripted.act

    async def otherwise(self: Scripted, conversation: Any, sampling: Any) -> Any:
        reply = await act(self, conversation, sampling)
        text = re.sub("<answer>(.*)</answer>", r"The answer is (\1).", reply.text)
        return replace(reply, text=text)

    monkeypatch.setattr(Scripted, "act", otherwise)
    assert main([*ASKED, "scripted:oracle", "--no-tools"]) == 0
    out = capsys.readouterr().out
    assert "accuracy           0.0 %" in out
    assert "read leniently     100.0 %" in out
    assert "seldom answered in medgym's form" in out


def test_repeats_give_pass_at_k(capsys: Capture, tmp_path: Path) -> None:
    words = [*ASKED, "scripted:random", "--repeats", "3", "--limit", "5"]
    assert main([*words, "--json", "--out", str(tmp_path / "a")]) == 0
    (policy,) = json.loads(capsys.readouterr().out)["policies"].values()
    found = policy["sampled"]  # greedy ones would all be the same
    assert found["accuracy"]["n"] == 15
    assert {"pass@1", "pass@2", "pass@3", "majority@3"} <= set(found["metrics"])
    assert found["metrics"]["pass@1"] == pytest.approx(found["accuracy"]["value"])
    outcomes = read_outcomes(tmp_path / "a")
    assert outcomes is not None
    assert len({each.key for each in outcomes}) == 15


def test_an_episode_that_failed_is_no_wrong_answer(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.rollout.collection.RETRIES", 0)
    act = Scripted.act

    async def broken(self: Scripted, conversation: Any, sampling: Any) -> Any:
        if int(conversation[1].images[0].sha256, 16) % 4 == 1:
            raise OSError("the line is cut")
        return await act(self, conversation, sampling)

    monkeypatch.setattr(Scripted, "act", broken)
    words = [*ASKED, "scripted:oracle", "--json", "--out"]
    assert main([*words, str(tmp_path / "a"), "--fail-above", "0.5"]) == 0
    (policy,) = json.loads(capsys.readouterr().out)["policies"].values()
    found = policy["greedy"]
    assert found["accuracy"]["value"] == 1.0
    failed = found["failed"]
    assert 0 < len(failed) <= 6
    assert found["accuracy"]["n"] == 12 - len(failed)
    assert all("OSError" in why for why in failed.values())
    written = read_outcomes(tmp_path / "a")
    assert main(["score", str(tmp_path / "a"), "--json"]) == 0
    (scored,) = json.loads(capsys.readouterr().out)["benchmarks"].values()
    assert scored["verdicts"]["failed"] == len(failed), "no episode of it was stored"
    assert read_outcomes(tmp_path / "a") == written
    none = summary([each for each in written or () if each.verdict == "failed"])
    assert _shown(none["accuracy"]) == "- (no episode counts)"
    assert main([*words, str(tmp_path / "b")]) == 1
    said = capsys.readouterr().err
    assert "of 12 episodes failed" in said
    assert "--fail-above" in said
    monkeypatch.setattr(Scripted, "act", act)
    assert main([*words, str(tmp_path / "b")]) == 0, "it plays what is missing"


def test_the_suite_that_ships_names_cases_that_are_there() -> None:
    suite = load_suite("phantom")
    assert [len(open_cases(spec)) for spec in suite.benchmarks.values()] == [200] * 4
    assert suite.sampling.temperature == 0


def test_a_judge_among_the_suites_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a suite meant a set of benchmarks, the group `medgym.suites` held judges."""
    judge = load_judge()
    monkeypatch.setattr("medgym.registry.load", lambda kind, name: judge)
    with pytest.raises(UserError, match=r"does not return a Suite; fix: .* in medgym\.judges"):
        load_suite("mine")


def test_a_suite_without_a_benchmark_is_refused() -> None:
    with pytest.raises(UserError, match="'empty' has no benchmark; fix"):
        Suite("empty", {})


def test_a_judges_own_metrics_are_rows_of_the_table() -> None:
    judgement = Judgement(
        "x", Rate.of([True]), 1.0, 0.0, None, {}, 1.0, 0.0, 0.0, {}, (),
        metrics={"f1": 0.25, "unparsed": 1.0, "pass@2": 0.5, "stayed": Rate.of([True, False])},
        cases=1, episodes=2,
    )  # fmt: skip
    told = dict(rows(judgement, "outcome"))
    assert told["f1"] == "0.25"
    assert (told["unparsed"], told["pass@2"], told["episodes"]) == ("100.0 %", "50.0 %", "1")
    assert "cases" not in told, "n is of episodes where a case has several"
    assert told["stayed"] == "50.0 % (95 % interval 9.5 to 90.5) of 2"
    assert told["mean reward"] == "- (outcome)"


def test_a_role_that_always_failed_has_no_figures() -> None:
    failed = RoleJudgement(Rate.of([]), None, 12, None, None, None, None)
    judgement = Judgement(
        "x", Rate.of([True]), 1.0, 0.0, None, {}, 1.0, 0.0, 0.0, {"specialist:a": failed}, ()
    )
    assert role_rows(judgement) == [("specialist:a", "0", "-", "-", "12", "-", "-", "-", "-")]
