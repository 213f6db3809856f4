"""GRPO over two processes: a group whose members are spread over both is left out in both."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.two_processes import run_two


def train(tiny: str, folder: str, unseen: list[str]) -> None:
    from peft import LoraConfig
    from trl import GRPOConfig

    from medgym import Sampling, open_cases
    from medgym.episode import Rules
    from medgym.rollout import collection
    from medgym.rubric import Rubric, Term
    from medgym.tool import load_tools
    from medgym.train.grpo.evaluation import HeldOut
    from medgym.train.grpo.trainer import LookingTrainer
    from medgym.train.models.checkpoint import load_model

    collection.BACK_OFF = 0.01
    rank = int(os.environ["RANK"])

    class Probe(LookingTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            made = super()._generate_and_score_completions(inputs)
            trained.append((made["completion_mask"] * made["tool_mask"]).sum(dim=1).tolist())
            return made

    model, processor = load_model(tiny)
    bad = set(unseen)
    trained = []
    uneven = Term("uneven", 1.0, lambda _, e: sum(map(ord, e.turns[0].reply)) % 7 / 7)
    kept = []
    evaluated = []
    held_out = HeldOut(
        open_cases("phantom,look=radiograph,question=kind:validation[:5]"),
        Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2),
        seed=7,
        keep=lambda step, played: evaluated.append([step, [each.case_id for each in played]]),
    )
    trainer = Probe(
        cases=open_cases("phantom,look=radiograph,question=kind:train[:6]"),
        rules=Rules(
            tools=load_tools(["zoom"]),
            view_size=64,
            max_turns=2,
            rubric=Rubric("uneven", (uneven,)),
        ),
        sampling=Sampling(max_tokens=6),
        model=model,
        processing_class=processor,
        peft_config=LoraConfig(r=2, target_modules=r".*language_model.*q_proj"),
        on_step=lambda _, pairs: kept.extend(pairs),
        held_out=held_out,
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=6,
            num_generations=4,
            max_steps=2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            disable_tqdm=True,
            save_strategy="steps",
            save_steps=2,
            top_k=0,
            beta=0.0,
            learning_rate=1e-2,
            ddp_find_unused_parameters=False,
            eval_strategy="steps",
            eval_steps=1,
            per_device_eval_batch_size=2,
            num_generations_eval=1,
        ),
    )
    act = trainer._policy.act

    async def failing(conversation: Any, sampling: Any) -> Any:
        if rank == 1 and conversation[1].images[0].sha256 in bad:
            raise ConnectionError("the line is dead")
        return await act(conversation, sampling)

    trainer._policy.act = failing
    trainer.train()
    weights = {
        n: w.double().sum().item() for n, w in trainer.model.named_parameters() if w.requires_grad
    }
    Path(folder, f"rank{rank}.json").write_text(
        json.dumps(
            {
                "trained": trained,
                "weights": weights,
                "kept": len(kept),
                "evaluated": evaluated,
                "logged": [row for row in trainer.state.log_history if "loss" in row],
                "judged": [row for row in trainer.state.log_history if "eval_accuracy" in row],
            }
        )
    )


@pytest.mark.slow
def test_a_group_over_two_processes_is_left_out_in_both(tiny_folder: Path, tmp_path: Path) -> None:
    from medgym import open_cases
    from medgym.episode import Rules

    cases = open_cases("phantom,look=radiograph,question=kind:train[:6]")
    # A step has three groups of four: the first process plays the first and half of the second, the
    # other one the rest. In the first step that one loses its half, in the second step everything.
    shown = [Rules(view_size=64).begin(case).messages[1].images[0].sha256 for case in cases]
    unseen = [shown[number] for number in (1, 4, 5)]
    ended = run_two(train, str(tiny_folder), str(tmp_path), unseen, folder=tmp_path, timeout=600)
    assert [each.status for each in ended] == [0, 0], ended[0].stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert [[n > 0 for n in step] for step in first["trained"]] == [[True] * 4 + [False] * 2] * 2
    assert [[n > 0 for n in step] for step in second["trained"]] == [
        [False] * 2 + [True] * 4,
        [False] * 6,
    ]
    assert first["weights"] == second["weights"], "the optimiser took the same steps in both"
    assert [row["failures/left_out"] for row in first["logged"]] == pytest.approx([1 / 3, 2 / 3])
    assert (first["kept"], second["kept"]) == (24, 0), "the first process keeps what all played"
    assert (tmp_path / "checkpoint-2" / "trainer_state.json").exists()

    # Five cases make three batches of two, of which one is filled up for the second process.
    ids = [case.id for case in open_cases("phantom,look=radiograph,question=kind:validation[:5]")]
    assert first["evaluated"] == [[step, ids] for step in (1, 2)]
    assert second["evaluated"] == []
    for mine, theirs in zip(first["judged"], second["judged"], strict=True):
        assert mine["eval_cases"] == 5
        shared = {name for name in mine if name.startswith(("eval_acc", "eval_look", "eval_rew"))}
        assert len(shared) > 4
        assert all(mine[name] == theirs[name] for name in shared)
