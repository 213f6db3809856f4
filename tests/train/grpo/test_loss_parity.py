"""Loss and gradients are TRL's own, on trajectories with images in prompts and tools' turns.

TRL's own path plays: its templates, its tool loop, its images; only the words that are sampled are
given. Then our path is handed the very same trajectories, and both take one step of plain gradient
descent at rate 1 from the same weights, so that what a weight moved by is its gradient.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from trl import GRPOConfig, GRPOTrainer

from medgym import Case, Sampling, open_cases
from medgym.episode import Rules
from medgym.imaging.lazy_image import image_hash
from medgym.local_model import LocalModel
from medgym.metrics.recorded_tokens import recorded_tokens
from medgym.tool import load_tools
from medgym.train import trl_environment
from medgym.train.grpo.dynamic_sampling import Group
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.models.checkpoint import load_model
from medgym.trajectory import ImageUse, Look, Node, Trajectory, hash_ids

CASES = "phantom,look=radiograph,question=kind:train[:2]"
ROWS = 4


def called(name: str, arguments: str) -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call><|im_end|>'


def replies(row: int) -> tuple[str, ...]:
    """What the policy of a row writes, turn by turn."""
    box = [100 * row, 250, 100 * row + 400, 600]
    return (
        called("zoom", f'{{"view": 0, "box": {box}}}'),
        called("answer", f'{{"answer": "{"ABC"[row % 3]}"}}'),
        "Done.<|im_end|>",
    )


class Theirs(GRPOTrainer):
    """Vanilla TRL, except that the text it samples is given; keeps what it played."""

    def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **named: Any) -> Any:
        tokenizer = self.processing_class.tokenizer
        turns = [tokenizer.decode(ids).count("<|im_start|>assistant") - 1 for ids in prompt_ids]
        texts = [replies(row)[turn] for row, turn in enumerate(turns)]
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts], None

    def _generate(self, prompts: Any) -> Any:
        self.played = super()._generate(prompts)
        return self.played


class Ours(LookingTrainer):
    """Our path, handed trajectories that others played."""

    given: Group

    def played(self, cases: Sequence[Case], rules: Rules, *purpose: object) -> Group:
        return self.given


def trajectory(
    row: int, theirs: Theirs, case: Case, pictures: dict[str, Image.Image]
) -> Trajectory:
    """What TRL played in a row, as a trajectory."""
    prompts, completions, masks, _, _, _, images, _ = theirs.played
    for image in images[row]:
        pictures[image_hash(image)] = image
    shown = [image_hash(image) for image in images[row]]
    token = theirs._image_pad_token_id
    ids, sampled = list(prompts[row]) + list(completions[row]), [0] * len(prompts[row]) + masks[row]
    nodes: list[Node] = []
    start = 0
    for end in range(1, len(ids) + 1):
        if end < len(ids) and sampled[end] == sampled[start]:
            continue
        part = tuple(ids[start:end])
        is_reply = bool(sampled[start])
        placeholders = part.count(token)
        nodes.append(
            Node(
                parent=len(nodes) - 1,
                role="assistant" if is_reply else "tool" if nodes else "user",
                text="",
                token_ids=part,
                loss_mask=(int(is_reply),) * len(part),
                logprobs=(-1.0,) * len(part) if is_reply else (),
                images=(ImageUse(shown.pop(0), len(nodes) // 2, placeholders),)
                if placeholders
                else (),
                prompt_hash=hash_ids(ids[:start]) if is_reply else "",
            )
        )
        start = end
    assert not shown
    score = theirs.environments[row]._episode.score
    return Trajectory(
        case_id=case.id, policy="theirs", seed=0, member=row % 2, kind="sampled",
        nodes=tuple(nodes), vision_token_ids=(token,), reward=score.total, terms=score.terms,
        terminated=True, looks=(Look("zoom", 0, (0.0, 0.0, 1.0, 1.0)),),
    )  # fmt: skip


def sampled_by(
    model: LocalModel, pair: tuple[Case, Trajectory], pictures: dict[str, Image.Image]
) -> tuple[Case, Trajectory]:
    """The same episode with the log-probabilities that the model gives it."""
    case, played = pair
    values = iter(model.logprobs(recorded_tokens(model.processor.tokenizer, [pair], pictures))[0])
    nodes = tuple(
        replace(node, logprobs=tuple(next(values) for _ in node.logprobs)) for node in played.nodes
    )
    return case, replace(played, nodes=nodes)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo"])
def test_one_step_is_that_of_trl(loss_type: str, tiny_folder: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "output_dir": str(tmp_path),
        "loss_type": loss_type,
        "optim": "sgd",
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "per_device_train_batch_size": ROWS,
        "num_generations": 2,
        "max_steps": 1,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "save_strategy": "no",
        "shuffle_dataset": False,
        "beta": 0.0,
        "top_k": 0,
        "max_completion_length": 600,
    }
    cases = open_cases(CASES)
    looking = trl_environment(CASES)
    model, processor = load_model(tiny_folder)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    theirs = Theirs(
        model=model,
        processing_class=processor,
        train_dataset=looking.dataset(),
        environment_factory=looking,
        args=GRPOConfig(**config),
    )
    theirs.train()

    again, processor = load_model(tiny_folder)
    ours = Ours(
        cases=cases,
        rules=Rules(tools=load_tools(["zoom"]), view_size=64),
        sampling=Sampling(),
        model=again,
        processing_class=processor,
        args=GRPOConfig(**config),
    )
    ours.given = [
        (case, trajectory(row, theirs, case, ours._rollouts.pictures))
        for row, case in enumerate(cases[row // 2] for row in range(ROWS))
    ]
    pictures = dict(ours._rollouts.pictures)
    ours.given = [sampled_by(ours.local, pair, pictures) for pair in ours.given]
    ours._rollouts.begin = lambda: ours._rollouts.pictures.update(pictures)
    ours.train()

    assert all(len(t.nodes) == 6 and t.nodes[2].images for _, t in ours.given)
    mine, their = ours.state.log_history[0], theirs.state.log_history[0]
    assert their["frac_reward_zero_std"] < 1, "there is something to learn"
    assert mine["reward"] == pytest.approx(their["reward"])
    assert mine["loss"] == pytest.approx(their["loss"], abs=1e-4)
    assert mine["grad_norm"] == pytest.approx(their["grad_norm"], abs=1e-4)
    seen = {name: weight.detach() for name, weight in model.named_parameters()}
    largest = max(float((seen[name] - before[name]).abs().max()) for name in before)
    assert largest > 1e-3
    near = min(1e-4, largest / 100)  # dr_grpo divides by the longest completion that may be
    for name, weight in again.named_parameters():
        assert torch.allclose(weight - before[name], seen[name] - before[name], atol=near), name
    vision = [n for n in before if "visual" in n and (seen[n] - before[n]).abs().max() > near]
    assert vision, "images reach the gradient"
