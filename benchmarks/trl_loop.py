"""TRL's own tool loop over medgym's cases: the rival of our rollouts.

The trainer is vanilla up to the point where generation is over: pooled environments, their resets,
templates, tools and sampling are all TRL's code, and what it would do with the result is cut off.
It is given what makes for equal work and nothing that slows it: the same checkpoint, the same
cases, decoded once, the same tool, and prompts of the same tokens (TRL's template would add a
description of the tools of its own; here the instructions describe them, as on our side).
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import add_response_schema

from medgym.cases import Case
from medgym.episode import Rules
from medgym.imaging.study import ImageRef, Study, open_image

from .episode_size import EpisodeSize

RESERVE = 4096
"""Tokens of a completion, tools' answers and images included; none comes near it."""


def trl_loop(folder: Path, cases: Sequence[Case], rules: Rules, group_size: int) -> "TRLLoop":
    """A trainer that plays every case `group_size` times in one batch.

    Args:
        folder: the checkpoint.
    """
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    add_response_schema(processor)
    template = processor.chat_template
    processor.chat_template = template.replace("{%- if tools %}", "{%- if false %}", 1)
    on_gpu = torch.cuda.is_available()
    rollouts = len(cases) * group_size
    desk: Any = lambda: _Desk(cases, rules)  # noqa: E731 - TRL's type knows no reset with images
    return TRLLoop(
        model=AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False
        ),
        processing_class=processor,
        train_dataset=Dataset.from_list([_row(rules, index) for index in range(len(cases))]),
        environment_factory=desk,
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=rollouts,
            num_generations=group_size,
            max_completion_length=RESERVE,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_steps=1,
            use_cpu=not on_gpu,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            beta=0.0,
        ),
    )


def _row(rules: Rules, case: int) -> dict[str, Any]:
    prompt = [{"role": "system", "content": rules.instructions}, {"role": "user", "content": ""}]
    return {"prompt": prompt, "case": case}


class _Generated(Exception):
    """Generation is over; what TRL would do next is not measured."""


class TRLLoop(GRPOTrainer):
    """`GRPOTrainer`, from a batch's rows to the end of its generation."""

    def play(self, seed: int) -> list[EpisodeSize]:
        """Play all cases; returns what was played, as a check that both sides did the same."""
        torch.manual_seed(seed)
        trainer: Any = self  # whose attributes may all be None, as its types say
        trainer.model.train()
        rows = [row for row in trainer.train_dataset for _ in range(trainer.num_generations)]
        with suppress(_Generated):
            self._generate_and_score_completions(rows)
        return self._played

    def _generate(self, prompts: list[Any]) -> Any:
        prompt_ids, completion_ids, mask, completions, _, _, images, _ = super()._generate(prompts)
        self._played = [
            EpisodeSize(
                turns=sum(message["role"] == "assistant" for message in completions[i]),
                sampled=sum(mask[i]),
                tokens=len(prompt_ids[i]) + len(completion_ids[i]),
                images=len(images[i]),
            )
            for i in range(len(prompts))
        ]
        raise _Generated


class _Desk:
    """An environment as TRL's documentation writes them: state, a reset, tools as methods."""

    def __init__(self, cases: Sequence[Case], rules: Rules) -> None:
        self._cases = cases
        self._rules = rules
        (self._tool,) = rules.tools

    def reset(self, case: int, **_: Any) -> list[dict[str, Any]]:
        played = self._cases[case]
        studies = tuple(_decoded(ref) for ref in played.images)
        episode = self._rules.begin(played, studies)
        self._workspace = episode.workspace
        content: list[dict[str, Any]] = episode.messages[1].chat()["content"]
        return content

    def zoom(self, view: int, box: list[float]) -> list[dict[str, Any]]:
        """
        Look closer: shows a region of a view as large as possible, from the original pixels.

        Args:
            view: number of a view
            box: [x0, y0, x1, y1] in the view
        """
        args = self._tool.parse({"view": view, "box": box})
        made = self._tool(args, self._workspace).views[0]
        shown = self._workspace.add(made)
        x0, y0, x1, y1 = (round(value) for value in shown.box_px)
        caption = f"View {shown.number}: {x1 - x0} x {y1 - y0} pixels of image {shown.image}."
        return [{"type": "image", "image": shown.picture}, {"type": "text", "text": caption}]

    def get_reward(self) -> float:
        return 0.0


@lru_cache(maxsize=64)
def _decoded(ref: ImageRef) -> Study:
    return open_image(ref)
