"""What one of two processes finds stops both, by the same words, and nobody waits for the other."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.train.grpo import trainer as grpo
from tests.two_processes import run_two

rows_of = grpo.rows_of


def exchanged(*given: Any) -> Any:
    """A step's rows with the images of two cases exchanged."""
    first, *rest, last = rows_of(*given)
    return [replace(first, images=last.images), *rest, replace(last, images=first.images)]


def train(tiny: str, folder: str, faulty: str) -> Any:
    """What one process says of a run in which the second one has a fault."""
    from peft import LoraConfig
    from trl import GRPOConfig

    from medgym import RunError, Sampling, open_cases
    from medgym.episode import Rules
    from medgym.tool import load_tools
    from medgym.train.models.checkpoint import load_model

    second = os.environ["RANK"] == "1"
    grpo.rows_of = exchanged if second and faulty == "rows" else rows_of
    model, processor = load_model(tiny)
    trainer = grpo.LookingTrainer(
        cases=open_cases("phantom,look=radiograph,question=kind:train[:8]"),
        rules=Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2),
        sampling=Sampling(max_tokens=6),
        model=model,
        processing_class=processor,
        peft_config=LoraConfig(r=2, target_modules=r".*language_model.*q_proj"),
        args=GRPOConfig(
            output_dir=folder, per_device_train_batch_size=4, gradient_accumulation_steps=2,
            num_generations=2, max_steps=2, logging_steps=1, report_to=[], use_cpu=True, bf16=False,
            gradient_checkpointing=False, shuffle_dataset=False, disable_tqdm=True,
            steps_per_generation=1, save_strategy="no", top_k=0, beta=0.0,
            ddp_find_unused_parameters=False,
        ),
    )  # fmt: skip
    act = trainer.local.act

    async def late(conversation: Any, sampling: Any) -> Any:
        reply = await act(conversation, sampling)
        return replace(reply, logprobs=(reply.logprobs[0], *reply.logprobs[:-1]))

    if second and faulty == "sampler":
        trainer.local.act = late
    try:
        trainer.train()
    except RunError as error:
        return [type(error).__name__, str(error), trainer.state.global_step]
    return trainer.state.log_history[0]["sampler/distance"]


def train_each(tiny: str, folder: str) -> None:
    said = {faulty: train(tiny, folder, faulty) for faulty in ("rows", "sampler", "none")}
    Path(folder, f"rank{os.environ['RANK']}.json").write_text(json.dumps(said))


@pytest.mark.slow
def test_both_processes_stop(tiny_folder: Path, tmp_path: Path) -> None:
    ended = run_two(train_each, str(tiny_folder), str(tmp_path), folder=tmp_path, timeout=600)
    assert [each.status for each in ended] == [0, 0], ended[0].stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert second["rows"][0] == "ExchangedImages"
    assert first["rows"][1] == second["rows"][1], "the first one, whose rows are right, says why"
    assert first["sampler"] == second["sampler"]
    assert first["sampler"][0] == "Apart"
    assert first["sampler"][2] == 0, "before the optimiser's step"
    assert first["none"] == second["none"] < 0.01
