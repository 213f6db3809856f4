"""GRPO through TRL: the private seam is pinned, and what TRL is given is what was sampled."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from medgym import Case, Sampling, UserError, open_cases
from medgym.episode import Rules
from medgym.tool import load_tools
from medgym.train.grpo import trainer as grpo
from medgym.train.grpo.trainer import SIGNATURE, LookingTrainer, check_trl
from medgym.trajectory import Trajectory

CASES = "phantom,look=radiograph,question=kind:train[:4]"


def test_the_seam_is_the_one_that_we_replace() -> None:
    assert str(inspect.signature(GRPOTrainer._generate)) == SIGNATURE
    check_trl()


def test_another_trl_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpo.trl, "__version__", "1.17.0")
    with pytest.raises(UserError, match=r"trl 1\.17\.0 is not supported; fix: .*trl==1\.16"):
        check_trl()


class Probe(LookingTrainer):
    """Keeps what TRL makes of each generation."""

    made: Any = None

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.made = super()._generate_and_score_completions(inputs)
        return self.made


@pytest.fixture(scope="module")
def played() -> list[Sequence[tuple[Case, Trajectory]]]:
    return []


@pytest.fixture(scope="module")
def trainer(
    tiny_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    played: list[Sequence[tuple[Case, Trajectory]]],
) -> Probe:
    from medgym.train.models.checkpoint import load_model

    model, processor = load_model(tiny_folder)
    config = GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("grpo")),
        per_device_train_batch_size=4,
        num_generations=2,
        max_steps=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        disable_tqdm=True,
        save_strategy="no",
        top_k=0,
        beta=0.0,
        learning_rate=1e-3,
    )
    trainer = Probe(
        cases=open_cases(CASES),
        rules=Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2),
        sampling=Sampling(max_tokens=6),
        args=config,
        model=model,
        processing_class=processor,
        peft_config=LoraConfig(r=2, target_modules=r".*language_model.*q_proj"),
        on_step=lambda step, pairs: played.append(pairs),
    )
    trainer.train()
    return trainer


def test_every_step_plays_its_groups(
    trainer: Probe, played: list[Sequence[tuple[Case, Trajectory]]]
) -> None:
    assert len(played) == trainer.state.global_step == 2
    first = [(case.id, trajectory.member) for case, trajectory in played[0]]
    ids = [case.id for case in open_cases(CASES)]
    assert first == [(ids[0], 0), (ids[0], 1), (ids[1], 0), (ids[1], 1)]
    seeds = [{t.seed for _, t in pairs} for pairs in played]
    assert all(len(s) == 1 for s in seeds)
    assert seeds[0] != seeds[1], "another step draws anew"


def test_trl_trains_on_the_tokens_and_images_that_were_sampled(
    trainer: Probe, played: list[Sequence[tuple[Case, Trajectory]]]
) -> None:
    made = trainer.made
    grid = made["image_grid_thw"]
    sides = sum(len(n.images) for _, t in played[-1] for n in t.nodes[:-1])
    assert len(grid) == sides, "every image reaches the trainer"
    for row, (_, trajectory) in enumerate(played[-1]):
        last = max(i for i, n in enumerate(trajectory.nodes) if n.role == "assistant")
        head, *rest = trajectory.branch(last)
        prompt = made["prompt_ids"][row][made["prompt_mask"][row].bool()]
        assert tuple(prompt.tolist()) == head.token_ids
        kept = made["completion_mask"][row].bool()
        completion = made["completion_ids"][row][kept]
        assert completion.tolist() == [i for node in rest for i in node.token_ids]
        mask = made["tool_mask"][row][kept]
        assert mask.tolist() == [m for node in rest for m in node.loss_mask]


def test_placeholders_equal_features(trainer: Probe) -> None:
    made = trainer.made
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
    placeholders = int((made["mm_token_type_ids"] == 1).sum())
    features = int((made["image_grid_thw"].prod(dim=1) // 4).sum())
    assert placeholders == features > 0
    assert made["mm_token_type_ids"].shape == ids.shape


def test_metrics_name_the_terms_and_the_looking(trainer: Probe) -> None:
    logged = trainer.state.log_history[0]
    for name in ("rewards/answer/mean", "rewards/format/mean", "accuracy", "looking/looked"):
        assert name in logged


def test_an_engine_lends_out_its_memory_while_the_model_learns(
    tiny_folder: Path, make_trainer: Any
) -> None:
    from medgym.policy import WrappedPolicy, load_policy

    order: list[str] = []

    class Noting(WrappedPolicy):
        async def act(self, conversation: Any, sampling: Sampling) -> Any:
            order.append("act")
            return await super().act(conversation, sampling)

        def pause(self) -> None:
            order.append("pause")

        def resume(self) -> None:
            order.append("resume")

    class Learning(LookingTrainer):
        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            order.append("learn")
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    engine = Noting(load_policy(f"hf:{tiny_folder}"))
    make_trainer(Learning, policy=engine).train()
    told = [name for at, name in enumerate(order) if name != order[at - 1]]
    assert told == ["resume", "act", "pause", "learn"] * 2


def test_the_accuracy_of_a_source_is_that_of_its_episodes_in_all_processes(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        turns = looks = nodes = ()

        def __init__(self, correct: bool) -> None:
            self.correct = correct

    case = open_cases("phantom,look=radiograph,question=kind:train[:1]")[0]
    trainer = make_trainer()
    trainer.source_of = lambda _: "a"
    own = [(case, Answer(True))] * 3  # where another process has one, which is wrong
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", property(lambda _: 2))
    monkeypatch.setattr(grpo, "looking_metrics", lambda *_: {})

    def gathered(mine: list[Any]) -> list[Any]:
        if isinstance(mine[0], dict):  # figures
            return [*mine, dict.fromkeys(mine[0], 0.0) if mine[0]["accuracy"] == 1.0 else mine[0]]
        return [*mine, ("a", False)]

    monkeypatch.setattr(grpo, "gather_object", gathered)
    trainer._log_episodes(own, [False] * 3)
    assert trainer._metrics["train"]["accuracy/a"] == [0.75]
    assert trainer._metrics["train"]["accuracy"] == [0.75]
