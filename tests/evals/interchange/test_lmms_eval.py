import json
import math
from pathlib import Path

import pytest

from medgym.cli import main
from medgym.evals.outcomes.table import read_outcomes

Capture = pytest.CaptureFixture[str]


def played(out: Path, *words: str) -> None:
    asked = ["phantom,look=ct:test[:6]", "--policy", "scripted:random", "--repeats", "2"]
    assert main(["eval", *asked, "--out", str(out), *words]) == 0


def test_results_and_samples_have_the_fields_of_lmms_eval(tmp_path: Path, capsys: Capture) -> None:
    played(tmp_path / "run", "--log-format", "lmms-eval", "--json")
    files = json.loads(capsys.readouterr().out)["logs"]
    results, samples = map(Path, files)
    assert results.parent == tmp_path / "run/logs/lmms-eval/scripted__random"
    assert samples.name == results.name.replace("_results.json", "_samples_phantom.jsonl")
    found = json.loads(results.read_text())
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    figures = found["results"]["phantom"]
    outcomes = read_outcomes(tmp_path / "run")
    assert outcomes is not None
    right = [each.verdict == "right" for each in outcomes]
    assert figures["accuracy,none"] == sum(right) / 12
    # Cases of one phantom are a group: the sums of their deviations, by hand.
    sums: dict[str, float] = {}
    for each, is_right in zip(outcomes, right, strict=True):
        sums[each.group] = sums.get(each.group, 0.0) + is_right - sum(right) / 12
    by_hand = math.sqrt(sum(total**2 for total in sums.values())) / 12
    assert figures["accuracy_stderr_clustered,none"] == pytest.approx(by_hand)
    assert found["n-samples"] == {"phantom": {"original": 6, "effective": 6}}
    assert found["configs"]["phantom"]["repeats"] == 2
    assert found["model_name"] == "scripted:random"
    assert [row["doc_id"] for row in rows] == list(range(6))
    assert sum(row["accuracy"] for row in rows) / 6 == figures["accuracy,none"]
    first = rows[0]
    assert {"target", "resps", "filtered_resps", "doc_hash", "input", "token_counts"} <= {*first}
    assert len(first["resps"]) == len(first["filtered_resps"]) == 2
    # lmms-eval compares with a baseline by a key "score"; letters and targets it would not match.
    assert first["score"] == first["accuracy"]


def test_cases_that_are_all_alike_have_no_standard_error(tmp_path: Path, capsys: Capture) -> None:
    asked = ["phantom,look=ct:test[:3]", "--policy", "scripted:oracle", "--out", str(tmp_path)]
    assert main(["eval", *asked, "--log-format", "lmms-eval", "--json"]) == 0
    found = json.loads(Path(json.loads(capsys.readouterr().out)["logs"][0]).read_text())
    figures = found["results"]["phantom"]
    assert figures["accuracy,none"] == figures["accuracy_lenient,none"] == 1
    errors = {name: value for name, value in figures.items() if "stderr" in name}
    assert len(errors) == 4
    assert set(errors.values()) == {"N/A"}


def test_a_stored_run_gets_the_same_log_and_twice_is_once(tmp_path: Path, capsys: Capture) -> None:
    played(tmp_path / "run")
    logs = []
    for _ in range(2):
        assert main(["score", str(tmp_path / "run"), "--log-format", "lmms-eval"]) == 0
        out = capsys.readouterr().out
        paths = [Path(line.removeprefix("log: ")) for line in out.splitlines() if "log: " in line]
        logs.append([path.read_bytes() for path in paths])
        assert len(paths) == 2
    assert logs[0] == logs[1]


def test_a_log_without_a_folder_is_refused_before_anything_is_played(capsys: Capture) -> None:
    asked = ["eval", "phantom:test[:2]", "--policy", "scripted:prior", "--log-format", "lmms-eval"]
    assert main(asked) == 2
    assert capsys.readouterr().err == (
        "medgym: a log is written into the folder of a run; fix: add --out runs/NAME, or omit "
        "--log-format\n"
    )
