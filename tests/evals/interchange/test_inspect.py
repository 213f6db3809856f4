import sys
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.cli import main
from medgym.evals.interchange.inspect_images import LogImages
from medgym.evals.outcomes.table import read_outcomes
from medgym.messages import ImagePart
from medgym.storage.trajectories import ImageStore
from medgym.suite import load_suite

Capture = pytest.CaptureFixture[str]
ASKED = ["eval", "phantom,look=ct:test[:4]", "--policy", "scripted:oracle"]


def test_without_inspect_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    assert main([*ASKED, "--out", str(tmp_path / "run"), "--log-format", "inspect"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("medgym: inspect_ai is not installed; fix: pip install ")
    assert "[inspect]" in said
    assert not (tmp_path / "run").exists()


def test_the_images_of_a_log_are_bounded(tmp_path: Path) -> None:
    from PIL import Image

    store = ImageStore(tmp_path)
    shown = [store.put(ImagePart(0, Image.new("RGB", (8, 8), (grey, 0, 0)))) for grey in range(3)]
    images = LogImages(store, most=1)
    uris = [images.uri(sha256) for sha256 in [*shown, "0" * 64]]
    assert str(uris[0]).startswith("data:image/png;base64,")
    assert uris[1:] == [None, None, None]
    assert images.notes == (
        "2 images are left out of the log, which holds up to 0 MiB of them; they are in "
        f"{tmp_path}",
        "the run does not have 1 of the images that were shown",
    )


def test_a_log_opens_in_inspect_with_what_was_played(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log")
    run = tmp_path / "run"
    assert main([*ASKED, "--out", str(run), "--log-format", "inspect"]) == 0
    read = log.read_eval_log(str(run / "logs/inspect/phantom.eval"), resolve_attachments=True)
    outcomes = read_outcomes(run)
    assert outcomes is not None
    assert (read.status, read.eval.task, read.eval.model) == (
        "success", "phantom", "scripted:oracle",
    )  # fmt: skip
    assert [sample.id for sample in read.samples] == [each.case for each in outcomes]
    for sample, each in zip(read.samples, outcomes, strict=True):
        assert sample.scores["strict"].metadata["verdict"] == each.verdict
        assert sample.metadata["group"] == "/".join(each.unit)
    (strict, lenient) = read.results.scores
    assert (strict.name, lenient.name) == ("strict", "lenient")
    assert strict.metrics["accuracy"].value == 1.0
    assert strict.metrics["low"].value < strict.metrics["high"].value
    looked = next(sample for sample in read.samples if sample.metadata["looked"])
    roles = [message.role for message in looked.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    call, shown = looked.messages[2].tool_calls[0], looked.messages[3]
    assert (call.function, shown.tool_call_id) == ("zoom", call.id)
    assert shown.content[0].image.startswith("data:image/png;base64,")
    manifest = (run / "manifest.json").read_text("utf-8")
    (run / "manifest.json").write_text(manifest.replace('"done"', '"running"'))
    assert main(["score", str(run), "--log-format", "inspect"]) == 0
    read = log.read_eval_log(str(run / "logs/inspect/phantom.eval"), header_only=True)
    assert read.status == "cancelled", "of a killed run"


def test_a_failed_episode_is_an_error_and_no_wrong_answer(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    from medgym.evals.interchange.inspect_log import _sample
    from medgym.evals.interchange.logged import LoggedEpisode
    from medgym.evals.outcomes.outcome import outcome_of
    from medgym.trajectory import failed_trajectory

    case = open_cases("phantom:test[:1]")[0]
    lost = failed_trajectory(case, policy="p", seed=0, member=0, failure="policy: it is down")
    sample = _sample(
        LoggedEpisode(case, lost, outcome_of(case, lost)), LogImages(ImageStore(tmp_path))
    )
    assert sample.error is not None
    assert sample.error.message == "policy: it is down"
    assert sample.scores is not None
    assert sample.scores["strict"].value != sample.scores["strict"].value  # unscored is NaN


def answers(input: Any, *_: Any) -> Any:
    from inspect_ai.model import ModelOutput, ModelUsage

    made = sum(message.role == "assistant" for message in input)
    said = [
        ModelOutput.for_tool_call("m", "zoom", {"view": 0, "box": [100, 100, 500, 500]}),
        ModelOutput.for_tool_call("m", "zoom", {"view": 9, "box": [100, 100, 500, 500]}),
        ModelOutput.from_content("m", "I think (A)"),
        ModelOutput.from_content("m", "<answer>A</answer>"),
    ][made]
    said.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return said


def test_a_suite_is_a_task_of_inspect(tmp_path: Path) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.model import get_model

    (log,) = inspect_ai.eval(
        "medgym/phantom",
        model=get_model("mockllm/model", custom_outputs=answers),
        task_args={"only": ["kind"]},  # as the command line makes of -T only=kind,side
        limit=3,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success"
    cases = {case.id: case for case in open_cases(load_suite("phantom").benchmarks["kind"])[:3]}
    assert {sample.id for sample in log.samples} == set(cases)
    for sample in log.samples:
        case = cases[sample.id]
        right = case.answer == case.options[0]
        assert sample.scores["strict"].value == ("C" if right else "I")
        messages = sample.messages
        assert [message.role for message in messages] == [
            "system", "user", "assistant", "tool", "assistant", "tool", "assistant", "user",
            "assistant",
        ]  # fmt: skip
        assert [part.type for part in messages[3].content] == ["image", "text"]
        assert messages[5].content[0].text == "Error: there is no view 9; expected 0 to 1."
        assert messages[7].content.startswith("Error: ")
