"""Loss and gradients of every kind of row are those of the formulas, in every family.

A batch holds rows without an image, with one and with three, some masked and some left out, over
two accumulation steps. The reference takes each row by itself and unpadded, through the model's
plain forward with what its own image processor makes, and weighs its tokens as TRL's documentation
of the loss says. One step of plain gradient descent at rate 1 then moves every weight by its
gradient.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medgym import Case, open_cases
from medgym.agents.hf.inputs import model_inputs
from medgym.agents.hf.policy import HFPolicy
from medgym.agents.rendering import Prompt
from medgym.episode import Rules
from medgym.imaging.lazy_image import image_hash
from medgym.messages import ImagePart, Message, Reply, TextPart, message
from medgym.rollout.record import _nodes
from medgym.tool import load_tools
from medgym.train.grpo.dynamic_sampling import Group
from medgym.train.grpo.trainer import LookingTrainer
from medgym.trajectory import Look, Trajectory
from tests.families import FAMILIES, build

pytestmark = pytest.mark.slow

MEMBERS = 3
IMAGES = (0, 1, 3, 1)
"""The images of each group's rows."""
LEFT_OUT = 3
"""The group one of whose members failed."""
MASKED = (1, 8)
"""The rows that ran out of their budget, one without images and one with three."""
LIMIT = 20
"""The longest completion, by which `dr_grpo` divides."""

RULES = Rules(tools=load_tools(["zoom"]), view_size=64)
LOSSES = ("dapo", "grpo", "dr_grpo", "bnpo")
RUNS = [
    *((family, "dapo") for family in FAMILIES),
    *((family, loss) for family in ("qwen3-vl", "gemma4") for loss in LOSSES[1:]),
]


class Given(LookingTrainer):
    """Is handed what was played, and keeps which rows each loss was taken of."""

    given: Group
    taken: list[list[tuple[bool, tuple[int, ...]]]]

    def played(self, cases: Sequence[Case], rules: Rules, *purpose: object) -> Group:
        return self.given

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        each = (inputs[name] for name in ("completion_ids", "completion_mask", "tool_mask"))
        self.taken.append(
            [
                (not bool(own[mask.bool()].any()), tuple(ids[mask.bool()].tolist()))
                for ids, mask, own in zip(*each, strict=True)
            ]
        )
        return super()._compute_loss(model, inputs)


def view(row: int, number: int) -> ImagePart:
    """An image of its own size for every place."""
    side = (40 + 8 * number, 64 - 8 * (row % 3))
    pixels = np.random.default_rng(10 * row + number).integers(0, 256, (*side, 3), dtype=np.uint8)
    return ImagePart(number, Image.fromarray(pixels))


def trajectory(policy: HFPolicy, case: Case, row: int, count: int) -> tuple[Trajectory, Prompt]:
    """A row of two replies, as if it had been sampled, and all that its model reads and writes."""
    renderer = policy.renderer
    said = [message("user", f"Which of {row}?", [view(row, 0)] if count else [])]
    texts = ("look at it" + "!" * (row % 4), f"<answer>{'ABCD'[row % 4]}</answer>")
    whole: Any = None
    for turn, text in enumerate(texts):
        prompt, ids = renderer.prompt(said), renderer.encode_reply(text)
        whole = Prompt(prompt.ids + ids, prompt.pictures, prompt.image_tokens)
        with torch.no_grad():
            values = logprobs(policy.model, renderer, whole, range(len(prompt.ids), len(whole.ids)))
        reply = Reply(text, prompt.ids, ids, tuple(values.tolist()), prompt.image_tokens)
        said.append(Message("assistant", (TextPart(text),), reply))
        if not turn:
            said.append(message("tool", "Seen.", [view(row, n) for n in range(1, count)]))
    terms = {term.name: float((row * 5) % 7) for term in RULES.rubric.terms}
    played = Trajectory(
        case_id=case.id, policy="given", seed=0, member=row % MEMBERS, kind="sampled",
        nodes=_nodes(said), vision_token_ids=renderer.vision_token_ids,
        reward=sum(terms[term.name] * term.weight for term in RULES.rubric.terms), terms=terms,
        terminated=row not in MASKED, truncated=row in MASKED,
        looks=(Look("zoom", 0, (0.0, 0.0, 1.0, 1.0)),) * max(count - 1, 0),
    )  # fmt: skip
    return played, whole


def logprobs(model: Any, renderer: Any, whole: Prompt, places: range) -> torch.Tensor:
    """Log-probabilities of some tokens of one conversation, by the plain forward."""
    scores = model(**model_inputs(model, renderer, [whole])).logits[0].log_softmax(-1)
    ids = torch.tensor(whole.ids)
    return scores[torch.tensor(places) - 1].gather(1, ids[torch.tensor(places), None])[:, 0]


def weights(loss: str, tokens: Sequence[int], batches: Sequence[Sequence[int]]) -> list[float]:
    """How much each token of a row counts in the loss of the step.

    Args:
        tokens: those that each row trains. batches: the rows of each accumulation step.
    """
    found = [0.0] * len(tokens)
    for rows in batches:
        for row in rows:
            found[row] = {
                "dapo": 1 / sum(tokens),
                "grpo": 1 / (max(tokens[row], 1) * len(rows) * len(batches)),
                "dr_grpo": 1 / (LIMIT * len(rows) * len(batches)),
                "bnpo": 1 / (sum(tokens[each] for each in rows) * len(batches)),
            }[loss]
    return found


@pytest.mark.parametrize(("family", "loss"), RUNS)
def test_a_batch_of_all_kinds_of_rows_has_the_loss_of_its_rows(
    family: str, loss: str, make_trainer: Any
) -> None:
    model, processor = build(family)
    reference = copy.deepcopy(model)
    policy = HFPolicy(reference, processor)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    cases = [case if n else case.model_copy(update={"images": ()})
             for case, n in zip(cases, IMAGES, strict=True)]  # fmt: skip
    rows = [(cases[row // MEMBERS], row, IMAGES[row // MEMBERS]) for row in range(4 * MEMBERS)]
    made = [trajectory(policy, *each) for each in rows]
    lost = Trajectory(
        case_id=cases[LEFT_OUT].id, policy="given", seed=0, member=2, kind="sampled", nodes=(),
        failure="tool: it broke",
    )  # fmt: skip
    trainer = make_trainer(
        Given,
        loaded=(model, processor),
        cases=cases,
        rules=RULES,
        overlong="mask",
        loss_type=loss,
        max_completion_length=LIMIT,
        num_generations=MEMBERS,
        per_device_train_batch_size=2 * MEMBERS,
        gradient_accumulation_steps=2,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        peft_config=None,
    )
    trainer.taken = []
    trainer.given = [
        (case, lost if row == 4 * MEMBERS - 1 else made[row][0]) for case, row, _ in rows
    ]
    pictures = {
        part.sha256: part.image for _, row, n in rows for part in (view(row, i) for i in range(n))
    }
    assert all(image_hash(image) == name for name, image in pictures.items())
    trainer._rollouts.begin = lambda: trainer._rollouts.pictures.update(pictures)
    trainer.train()

    # The reference: row by row.
    advantages = [0.0] * len(rows)
    for group in range(4):
        kept = [r for r in range(group * MEMBERS, (group + 1) * MEMBERS) if r not in MASKED]
        rewards = torch.tensor([made[row][0].reward or 0.0 for row in kept])
        for row, reward in zip(kept, rewards, strict=True):
            if group != LEFT_OUT:
                advantages[row] = float((reward - rewards.mean()) / (rewards.std() + 1e-4))
    completions, places = [], []
    for played, _ in made:
        at, own = 0, []
        for node in played.nodes:
            if node.role == "assistant":
                own += list(range(at, at + len(node.token_ids)))
            at += len(node.token_ids)
        completions.append(tuple(i for node in played.nodes[1:] for i in node.token_ids))
        places.append(own)
    silent = [row in MASKED or row // MEMBERS == LEFT_OUT for row in range(len(rows))]
    tokens = [0 if quiet else len(own) for quiet, own in zip(silent, places, strict=True)]
    left = list(range(len(rows)))
    batches: list[list[int]] = []
    for taken in trainer.taken:
        batches.append([])
        for row_taken in taken:
            # Where a member failed another row stands in, silent.
            match = [r for r in left if (silent[r], completions[r]) == row_taken]
            batches[-1].append(match[0] if match else len(rows) - 1)
            left.remove(batches[-1][-1])
    assert not left
    expected = 0.0
    for row, weight in enumerate(weights(loss, tokens, batches)):
        if tokens[row] and advantages[row]:
            found = logprobs(reference, policy.renderer, made[row][1], range(len(made[row][1].ids)))
            values = found[places[row]]
            part = -advantages[row] * weight * (values - values.detach()).exp().sum()
            part.backward()
            expected += float(part.detach())

    logged = trainer.state.log_history[0]
    assert logged["loss"] == pytest.approx(expected, abs=1e-4)
    largest = 0.0
    for (name, weight_now), before in zip(
        trainer.model.named_parameters(), reference.parameters(), strict=True
    ):
        gradient = torch.zeros_like(before) if before.grad is None else before.grad
        largest = max(largest, float(gradient.abs().max()))
        assert torch.allclose(before - gradient, weight_now, atol=1e-4), name
    assert largest > 1e-2
    assert [len(taken) for taken in trainer.taken] == [2 * MEMBERS] * 2
