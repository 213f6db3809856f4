"""The GPU's benchmark at its smallest: every part runs here, so that a GPU is not its first try."""

import json
from pathlib import Path

import pytest

pytest.importorskip("trl")

from medgym.benchmarks.gpu.measured import SCALE, cases, main, parts
from medgym.benchmarks.gpu.model import SIZES, _config
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.train.run import report

pytestmark = pytest.mark.slow


def test_every_part_runs_and_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "draw_report", lambda run: None)  # it takes as long as the training
    out = tmp_path / "gpu.json"
    wanted = ["doctor", "sft_plain", "grpo_checkpointing"]
    assert main(["--size", "tiny", "--out", str(out), "--parts", *wanted]) == 0
    found = json.loads(out.read_text())
    assert set(found["parts"]) == set(wanted)
    assert found["weights"] > 10_000
    assert found["parts"]["doctor"]["verdicts"]["agreement"] == "pass"
    assert found["parts"]["sft_plain"]["trained_tokens_per_s"] > 0
    grpo = found["parts"]["grpo_checkpointing"]
    assert grpo["sampled_tokens_per_s"] > 0
    assert grpo["trained_tokens_per_s"] > 0
    assert grpo["agreement"]["sampler/kl"] < 0.01


def test_a_part_for_which_no_time_is_left_is_listed(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert main(["--size", "tiny", "--out", str(out), "--seconds", "0"]) == 0
    found = json.loads(out.read_text())["parts"]
    assert set(found) == set(parts("tiny"))
    assert all("s were left" in each["left_out"] for each in found.values())


@pytest.mark.parametrize(("size", "least", "most"), [("2b", 2.0e9, 2.3e9), ("4b", 4.2e9, 4.6e9)])
def test_the_sizes_are_the_true_ones(size: str, least: float, most: float) -> None:
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(_config(*SIZES[size]))
    assert least < sum(weight.numel() for weight in model.parameters()) < most


@pytest.mark.parametrize("size", SIZES)
def test_the_images_of_a_size_may_be_seen_whole_at_its_views(size: str) -> None:
    scale = SCALE[size]
    for part in ("train[:1]", "test[:1]"):
        case = open_cases(cases(size, part))[0]
        episode = Rules(view_size=scale["view"], max_turns=scale["turns"]).begin(case)
        sides = episode.messages[-1].images[0].image.size
        assert max(sides) == scale["view"]
