"""The checks of `medgym doctor` that need no episode: template, images as tokens, vision tokens.

Every check is a function from the subject to a `Check`. What breaks inside one is its own failure:
the others are made all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from medgym.errors import RunError, UserError
from medgym.failures import reason_of
from medgym.gpu_memory import ELSEWHERE, gpu_memory_error
from medgym.local_model import LocalModel
from medgym.messages import ImagePart, Message, Reply, TextPart, message
from medgym.policy import Sampling
from medgym.workspace import MAX_ASPECT

from .subject import Subject

Verdict = Literal["pass", "warn", "fail"]
Figure = Mapping[str, float | int | str]

ODD_SIZES = ((1, 1), (3, 700), (641, 17), (28, 28), (449, 447), (64, 448))
"""Width and height in pixels; a view may be as small as the first one, and of any odd side."""

BIAS = 1e4
"""Added to the vision tokens' logits: one that could be sampled would be."""

RARE = 0.01
"""Probability of vision tokens, per token, from which the trainer's distribution (which has them)
and the sampler's (which has not) differ by more than rounding does."""


@dataclass(frozen=True)
class Check:
    """One row of the report.

    Attributes:
        check: its name. figure: what was measured, by name.
        fix: what to do; empty where nothing is to be done.
    """

    check: str
    verdict: Verdict
    figure: Figure
    fix: str = ""


def guarded(name: str, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """The check's result; an exception of it is a failure of the model, not of the command."""
    try:
        return check(subject)
    except Exception as error:
        known = gpu_memory_error(error, f"{ELSEWHERE}, or fewer --cases") or error
        if isinstance(known, UserError | RunError):
            said, _, fix = str(known).partition("; fix: ")
            return Check(name, "fail", {"error": said}, fix)
        return Check(name, "fail", {"error": reason_of(error)}, "see what raises it")


def template(subject: Subject) -> Check:
    """Whether a conversation keeps its tokens: turn after turn, and rendered as a whole.

    medgym continues the tokens that it holds, so drift cannot reach training. An engine that
    renders the conversation again at each turn (an endpoint that returns no token ids) gets what
    the second half of this check gets.
    """
    policy = subject.policy  # refuses a template that rewrites earlier turns
    said = _dialogue(policy)
    held = policy.prompt(said).ids
    chat = [each.chat() for each in said]
    for turn in chat:
        turn["role"] = policy.tool_role if turn["role"] == "tool" else turn["role"]
    processor = policy.processor
    text = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    images = [part.image for each in said for part in each.images]
    made = processor(text=[text], images=images, add_special_tokens=False)
    again = tuple(map(int, made["input_ids"][0]))
    pairs = enumerate(zip(held, again, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(held), len(again)))
    if held == again:
        return Check("template", "pass", {"turns": 3, "tokens": len(held)})
    return Check(
        "template",
        "warn",
        {"turns": 3, "tokens": len(held), "same": same},
        "nothing for hf: and vllm:, which continue token ids; an endpoint must return them "
        "(return_token_ids), since the conversation has other tokens when it is rendered again",
    )


def _dialogue(policy: LocalModel) -> list[Message]:
    """Two thoughtful turns with a look each, and the question of a third one."""
    said = [message("system", "Look, then answer."), message("user", "Which?", [_part(0)])]
    for turn, size in enumerate(((96, 64), (40, 80)), start=1):
        prompt = policy.prompt(said)
        text = f'<think>Look {turn}.</think><tool_call>{{"name": "zoom"}}</tool_call>'
        ids = policy.encode_reply(text)
        reply = Reply(text, prompt.ids, ids, image_tokens=prompt.image_tokens)
        said.append(Message("assistant", (TextPart(text),), reply))
        said.append(message("tool", f"View {turn}.", [_part(turn, *size)]))
    return said


def _part(view: int, width: int = 64, height: int = 64) -> ImagePart:
    return ImagePart(view, _noise(width, height))


def _noise(width: int, height: int) -> Image.Image:
    grey = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(grey.astype(np.uint8))


def tool_images(subject: Subject) -> Check:
    """Under which role a tool's images are shown."""
    role = subject.policy.tool_role
    if role == "tool":
        return Check("tool images", "pass", {"role": role})
    return Check(
        "tool images",
        "warn",
        {"role": role},
        "nothing: the template shows no images in a tool's message, so they go into a user message",
    )


def features(subject: Subject) -> Check:
    """Placeholders in the text against features that the vision tower really makes, at odd sizes.

    A size that the image processor refuses counts only where a view may have it.
    """
    policy = subject.policy
    figure: dict[str, int | str] = {}
    wrong = []
    for width, height in ODD_SIZES:
        name = f"{width}x{height}"
        image = _noise(width, height)
        try:
            prompt = policy.prompt([message("user", "?", [_part(0, width, height)])])
            made = policy.count_image_features([image])
        except Exception as error:
            figure[name] = "refused"
            if max(width, height) <= MAX_ASPECT * min(width, height):
                wrong.append(f"{name}: {reason_of(error)}")
            continue
        placeholders = prompt.ids.count(policy.vision_token_ids[0])
        figure[name] = made
        counted = sum(prompt.image_tokens)
        if not placeholders == made == counted:
            said = "" if counted == made else f", {counted} counted by the processor"
            figure[name] = f"{placeholders} placeholders, {made} features{said}"
            wrong.append(f"{name}: {figure[name]}")
    if not wrong:
        return Check("features", "pass", figure)
    fix = f"use the processor that belongs to the model ({wrong[0]})"
    return Check("features", "fail", figure, fix)


def vision_tokens(subject: Subject) -> Check:
    """Whether the sampler can sample a vision token when the model wants nothing else."""
    policy = subject.policy
    banned = list(policy.vision_token_ids)

    def bias(module: torch.nn.Module, given: object, logits: torch.Tensor) -> torch.Tensor:
        pushed = logits.clone()
        pushed[..., banned] += BIAS
        return pushed

    asked = [each.conversation[:2] for each in subject.shown if each.conversation is not None][:4]
    hook = policy.model.get_output_embeddings().register_forward_hook(bias)
    try:
        replies = subject.sample(asked, Sampling(max_tokens=8))
    finally:
        hook.remove()
    sampled = [token for reply in replies for token in reply.token_ids or ()]
    caught = sum(token in banned for token in sampled)
    share = _share(subject, banned)
    figure = {"sampled": caught, "of": len(sampled), "probability": share}
    if caught:
        fix = "ban them where replies are sampled: each stands for an image that is not there"
        return Check("vision tokens", "fail", figure, fix)
    if share > RARE:
        return Check(
            "vision tokens",
            "warn",
            figure,
            "the sampler never samples them, but the model would: teach it replies by a cold start",
        )
    return Check("vision tokens", "pass", figure)


def _share(subject: Subject, banned: Sequence[int]) -> float:
    """The mean probability that the model by itself gives to vision tokens in its replies."""
    free = subject.policy.logprobs(subject.own)
    bound = subject.policy.logprobs(subject.own, banned=banned)
    # Without them every other token is likelier by 1 / (1 - their probability).
    pairs = [(a, b) for x, y in zip(free, bound, strict=True) for a, b in zip(x, y, strict=True)]
    return float(np.mean([-np.expm1(a - b) for a, b in pairs])) if pairs else 0.0
