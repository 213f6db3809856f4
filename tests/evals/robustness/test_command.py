"""`medgym robustness` as it is called."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.agents.scripted.policy import Scripted
from medgym.cli import main
from medgym.evals.outcomes.table import read_outcomes
from medgym.failures import Failure

Capture = pytest.CaptureFixture[str]
CASES = "phantom,question=kind,look=radiograph:test[:6]"


def words(*more: str, policy: str = "scripted:prior", cases: str = CASES) -> list[str]:
    return ["robustness", cases, "--policy", policy, "--variants", "jpeg,options", *more]


def test_a_run_resumes_is_a_reference_and_is_compared(tmp_path: Path, capsys: Capture) -> None:
    first, second = str(tmp_path / "prior"), str(tmp_path / "oracle")
    assert main(words("--severities", "1", "--out", first)) == 0
    out = capsys.readouterr().out
    assert "jpeg-1" in out
    assert "--reference RUN gives BE and rBE" in out
    assert all(len(line) <= 120 for line in out.splitlines())
    stored = read_outcomes(Path(first))
    assert stored is not None
    assert {each.benchmark for each in stored} == {"clean", "jpeg-1", "options"}
    assert {each.group for each in stored if each.benchmark == "clean"} == {
        each.group for each in stored if each.benchmark == "options"
    }
    before = (Path(first) / "outcomes.parquet").read_bytes()
    manifest = Path(first) / "manifest.json"
    interrupted = json.loads(manifest.read_text()) | {"status": "running"}
    manifest.write_text(json.dumps(interrupted))
    shutil.rmtree(Path(first) / "judged" / "options")
    assert main(words("--severities", "1", "--out", first)) == 0
    assert capsys.readouterr().out == out
    assert (Path(first) / "outcomes.parquet").read_bytes() == before
    again = words("--severities", "1", "--out", second, "--reference", first, "--json")
    again[again.index("scripted:prior")] = "scripted:oracle"
    assert main(again) == 0
    found = json.loads(capsys.readouterr().out)
    row = found["robustness"]["corruptions"][0]
    assert (row["corruption"], row["BE"]["value"]) == ("jpeg", 0.0)
    assert found["robustness"]["against"].endswith(first)
    assert found["command"] == "robustness"
    assert main(["compare", first, second]) == 0
    assert "options" in capsys.readouterr().out
    assert main(["score", first]) == 0
    capsys.readouterr()
    assert main(["runs", str(tmp_path), "--json"]) == 0
    listed = [(line["run"], line["what"]) for line in json.loads(capsys.readouterr().out)]
    assert listed == [("oracle", "clean, greedy"), ("prior", "clean, greedy")]


def test_a_variant_that_cannot_be_judged_costs_only_itself(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a model that refuses each question without an image."""
    act = Scripted.act

    async def insisting(self: Scripted, conversation: Any, sampling: Any) -> Any:
        if not any(message.images for message in conversation):
            raise Failure("policy", "I see no image", final=True, withheld="refused")
        return await act(self, conversation, sampling)

    monkeypatch.setattr(Scripted, "act", insisting)
    out = str(tmp_path / "run")
    asked = words("--variants", "options,text-only", "--limit", "3", "--out", out)
    assert main(asked) == 1
    said = capsys.readouterr()
    assert "1 of 3 benchmarks could not be judged: text-only (no case has a reply" in said.err
    assert "options" in said.out
    assert "text-only" not in said.out
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert [row["variant"] for row in found["robustness"]["variants"]] == ["options"]
    assert list(found["not_judged"]) == ["text-only"]


def test_a_reference_on_other_cases_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: Capture
) -> None:
    first = str(tmp_path / "few")
    assert main(words("--severities", "1", "--out", first, "--limit", "3")) == 0
    for more in (["--severities", "2"], ["--severities", "1"]):
        assert main(words(*more, "--reference", first)) == 2
        error = capsys.readouterr().err
        assert "has no jpeg-2; fix:" in error or "has not played the case" in error


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([CASES], "no policy is named; fix:"),
        ([CASES, "--policy", "scripted:prior", "--variants", "saturate"], "no variant that was"),
        ([CASES, "--variants", "blurr"], "blur"),
        ([CASES, "--severities", "9"], "'9' is no severity"),
        ([CASES, "--show", "sheet.jpg"], "is no PNG file"),
        ([CASES, "--variants", "options", "--show", "sheet.png"], "nothing to draw"),
        ([CASES, "--only", "x"], "is no suite"),
        (["phantom", "--max-turns", "3"], "sets its own protocol"),
    ],
)
def test_a_fault_is_one_line(asked: list[str], said: str, capsys: Capture) -> None:
    assert main(["robustness", *asked]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_suite_is_changed_benchmark_by_benchmark(capsys: Capture) -> None:
    asked = ["robustness", "phantom", "--only", "side,presence", "--limit", "3"]
    asked += ["--policy", "scripted:prior", "--variants", "text-only", "--json"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["benchmarks"]) == {
        "side~clean", "side~text-only", "presence~clean", "presence~text-only"
    }  # fmt: skip
    assert set(found["robustness"]) == {"side", "presence"}
    told = {name: part.get("baselines") for name, part in found["benchmarks"].items()}
    assert told["side~text-only"] is None  # a policy that never looks gets the same on all variants
    for name in ("side~clean", "presence~clean"):
        assert {"constant text", "chance"} <= {row["baseline"] for row in told[name]}


def test_a_sheet_has_an_image_of_each_kind(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "sheet.png"
    asked = ["robustness", "phantom,question=kind:test[:4]", "--show", str(out)]
    assert main([*asked, "--variants", "brightness-down"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 images\n"
    with Image.open(out) as sheet:
        assert sheet.width > 6 * 160
