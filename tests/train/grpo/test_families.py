"""Every family of models trains: two steps on phantoms with images in prompts and in tools' turns.

The models are tiny and random, so they would never call a tool by themselves: the first reply of
an episode and the last one are written for them, and count as theirs with the log-probabilities
that they have.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from medgym import Sampling
from medgym.agents.hf.inputs import model_inputs
from medgym.agents.hf.policy import HFPolicy
from medgym.episode import Rules
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy
from medgym.tool import load_tools
from medgym.train.models.lora import lora_config, part_of
from tests.families import FAMILIES, build
from tests.train.grpo.test_trainer import Probe

pytestmark = pytest.mark.slow


class Led(Policy):
    """Plays as a model does, but for the first reply, a call, and the third, an answer."""

    kind = "sampled"
    spec = "led"

    def __init__(self, model: Any, processor: Any) -> None:
        self.own = HFPolicy(model, processor, patience=None)
        self.vision_token_ids = self.own.vision_token_ids

    def enter(self) -> None:
        self.own.enter()

    def leave(self) -> None:
        self.own.leave()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turn = sum(message.reply is not None for message in conversation)
        if turn == 1:
            return await self.own.act(conversation, sampling)
        left = 100 * (sampling.seed % 5)
        call = render_call("zoom", {"view": 0, "box": [left, 300, left + 400, 500 + left]})
        text = call if turn == 0 else render_answer("ABC"[sampling.seed % 3])
        renderer = self.own.renderer
        prompt, ids = renderer.prompt(conversation), renderer.encode_reply(text)
        whole = type(prompt)(prompt.ids + ids, prompt.pictures, prompt.image_tokens)
        with torch.no_grad():
            logits = self.own.model(**model_inputs(self.own.model, renderer, [whole])).logits
        logprobs = torch.log_softmax(logits[0, -len(ids) - 1 : -1].double(), dim=-1)
        values = logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
        return Reply(
            text=text,
            prompt_ids=prompt.ids,
            token_ids=ids,
            logprobs=tuple(values),
            image_tokens=prompt.image_tokens,
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_two_steps_train_every_family(family: str, make_trainer: Any) -> None:
    model, processor = build(family)
    played: list[Any] = []
    trainer = make_trainer(
        Probe,
        loaded=(model, processor),
        policy=Led(model, processor),
        rules=Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=3),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        beta=0.01,  # so that the reference model sees what the policy sees
        peft_config=lora_config(
            model, {"r": 2, "init_lora_weights": False}, ("language", "vision", "projector")
        ),
        on_step=lambda step, pairs: played.extend(pairs),
    )
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()

    assert all(len(trajectory.looks) == 1 for _, trajectory in played)
    logged = [row for row in trainer.state.log_history if "reward" in row]
    assert len(logged) == 2
    after = dict(trainer.model.named_parameters())
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {part_of(name) for name in moved} == {"language", "vision", "projector"}

    # What was written for the model has exactly the log-probabilities that TRL gives it, before the
    # tool's image and behind it. Replies that it sampled itself differ by what no sampler may draw:
    # vision tokens, to which a random model gives some per cent.
    made = trainer.made
    apart = (made["old_per_token_logps"] - made["sampling_per_token_logps"]).abs()
    for row, (_, trajectory) in enumerate(played[-4:]):
        start = 0
        for number, node in enumerate(trajectory.nodes[1:6]):
            part = apart[row, start : start + len(node.token_ids)]
            start += len(node.token_ids)
            if node.role == "assistant":
                assert part.max() < (0.2 if number == 2 else 1e-3), (number, part)
