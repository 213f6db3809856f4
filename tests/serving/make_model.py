"""Makes what the tests of real serving engines serve: a small model that looks and then answers.

    python tests/serving/make_model.py FOLDER

writes FOLDER/base (a Qwen3-VL of some 0.7 M parameters, taught within seconds to zoom three times
and then to answer, so that its episodes have several turns with images) and FOLDER/adapters/ROLE,
one LoRA adapter of random weights for each of two roles, and one, `namer`, that was taught to name
a specialty at once, as triage does. Sizes are such that vLLM serves it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoProcessor

from medgym.cases import Case, open_cases
from medgym.consultation.opinions import SPECIALTIES, triage_case
from medgym.episode import Rules
from medgym.instructions import instructions
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.sft.samples import Collator, sample_of
from medgym.train.sft.trainer import supervised
from medgym.train.tiny.model import TinyConfig, build_model
from medgym.train.tiny.tokenizer import answer_pieces, build_processor, call_pieces
from medgym.trajectory import Trajectory

CASES = "phantom,look=radiograph,question=kind:train[:32]"
VIEW_SIZE = 64
LOOKS = 3
ROLES = ("triage", "attending")
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class Looker(Policy):
    """Zooms into a corner `LOOKS` times, then answers at random."""

    spec = "looker"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        rng = np.random.default_rng(sampling.seed)
        if sum(m.role == "assistant" for m in conversation) < LOOKS:
            x, y = (int(v) * 250 for v in rng.integers(0, 3, 2))
            return Reply(render_call("zoom", {"view": 0, "box": [x, y, x + 500, y + 500]}))
        return Reply(render_answer(str(rng.choice(["A", "B", "C", "D"]))))


def played(
    cases: Sequence[Case], policy: Policy, rules: Rules, group_size: int = 1
) -> tuple[list[Trajectory], dict[str, Any]]:
    """What a policy plays, and the images that it was shown, by content hash."""
    pictures: dict[str, Any] = {}

    def keep(messages: Sequence[Message]) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    shown = collect(cases, policy, rules, group_size=group_size, on_messages=keep)
    return list(shown), pictures


def make_base(folder: Path) -> Any:
    """Build, teach and save the base; returns the model."""
    cases = open_cases(CASES)
    rules = Rules(tools=load_tools(["zoom"]), max_turns=LOOKS + 2, view_size=VIEW_SIZE)
    texts: dict[str, None] = {}

    def listen(messages: Sequence[Message]) -> None:
        texts.update((m.text, None) for m in messages if m.role in ("user", "tool"))

    for _ in collect(cases, Looker(), rules, on_messages=listen):
        pass
    said = [line for text in texts for line in text.splitlines(keepends=True)]
    told = instructions(rules.tools).splitlines(keepends=True)
    pieces = (*told, *said, *call_pieces(range(0, 1001, 250)), *answer_pieces("ABCD"))
    processor = build_processor(pieces, VIEW_SIZE)
    config = TinyConfig(hidden=96, text_layers=2, vision_layers=1, heads=4)
    model = build_model(config, processor.tokenizer, seed=0)

    imitation = load("policies", "hf")(model, processor).imitating(Looker())
    shown, pictures = played(cases, imitation, rules, group_size=2)
    lessons = {"max_steps": 120, "learning_rate": 3e-3, "per_device_train_batch_size": 8}
    lessons |= {"lr_scheduler_type": "cosine", "warmup_steps": 12}
    supervised(model, processor, shown, pictures.__getitem__, lessons, seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def make_adapters(model: Any, folder: Path) -> None:
    """Save one adapter of random weights, strong enough to be heard, for each role."""
    for number, role in enumerate(ROLES):
        torch.manual_seed(number)
        config = LoraConfig(
            r=8, lora_alpha=16, target_modules=TARGETS, init_lora_weights=False, bias="none"
        )
        adapted = get_peft_model(model, config)
        adapted.save_pretrained(folder / role)
        model = adapted.unload()


def make_namer(model: Any, processor: Any, folder: Path) -> None:
    """Teach and save the adapter that names a specialty, now the first and now the second."""
    cases = [
        triage_case(case, SPECIALTIES[:2]).model_copy(update={"answer": SPECIALTIES[number % 2]})
        for number, case in enumerate(open_cases(CASES))
    ]
    prompt: str = load("roles", "triage")().prompt
    rules = Rules(max_turns=1, view_size=VIEW_SIZE, prompt=prompt)
    imitation = load("policies", "hf")(model, processor).imitating(load_policy("scripted:oracle"))
    shown, pictures = played(cases, imitation, rules)
    samples = [sample_of(trajectory) for trajectory in shown]
    collate = Collator(model, processor, pictures.__getitem__)
    torch.manual_seed(len(ROLES))
    config = LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, bias="none")
    adapted = get_peft_model(model, config).train()
    learning = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=5e-3)
    for step in range(40):
        batch = collate([samples[(8 * step + i) % len(samples)] for i in range(8)])
        optimiser.zero_grad()
        adapted(**batch).loss.backward()
        optimiser.step()
    adapted.save_pretrained(folder / "namer")


def main() -> None:
    torch.set_num_threads(1)  # sums in another order would make another model
    folder = Path(sys.argv[1])
    model = make_base(folder / "base")
    make_adapters(model, folder / "adapters")
    processor = AutoProcessor.from_pretrained(folder / "base")
    make_namer(model, processor, folder / "adapters")


if __name__ == "__main__":
    main()
