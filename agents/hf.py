"""A transformers model as a policy, in process: `hf:PATH`, `hf:PATH@ADAPTER`.

Requests of concurrent episodes are joined into batches. Each reply's chance comes from its own
seed, by inverse transform of one uniform number a token, so that a draw does not depend on which
other requests share the batch. Vision tokens cannot be sampled.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling

from .adapters import name_of
from .hf_adapters import AdaptedHF, add_adapter, playing_by
from .rendering import Prompt, Renderer

PATIENCE = 0.02
"""Seconds; a small tool answers sooner, and a slow one is not waited for."""

TICK = 0.0005
"""Seconds between two looks at who is waiting."""

_TICKET: ContextVar[int] = ContextVar("ticket", default=0)
"""The place of this task's episode among those that entered."""


@dataclass(frozen=True)
class _Request:
    prompt: Prompt
    sampling: Sampling
    answer: "asyncio.Future[Reply]"
    ticket: int
    adapter: str | None = None  # by name; "" for the bare base, None for the model as it is


class HFPolicy(Policy):
    """A vision-language model that samples replies.

    Args:
        model: any transformers image-text-to-text model, with or without a PEFT adapter.
        processor: its processor, with a chat template.
        batch_size: requests answered at once.
        patience: seconds without a new request after which those that wait are answered, though
            some episodes are still busy with tools. None waits for every episode, so that batches,
            and with them the last bits of every number, do not depend on the clock: for training.
    """

    kind: ClassVar[Literal["sampled"]] = "sampled"  # type: ignore[misc]
    local_model: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        batch_size: int = 64,
        patience: float | None = PATIENCE,
    ) -> None:
        self.model = model
        self.renderer = Renderer(processor)
        self.vision_token_ids = self.renderer.vision_token_ids
        self._batch_size = batch_size
        self._patience = patience
        self._playing = 0
        self._entered = 0
        self._waiting: list[_Request] = []
        self._server: asyncio.Task[None] | None = None
        self._adapters: dict[str, Path] = {}
        self._own: str | None = None  # what our own requests play by, as `_Request.adapter`

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "HFPolicy":
        """Load a model folder (or hub name) and, with `@ADAPTER`, a PEFT adapter's folder."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        rest = str(Path(rest).expanduser()) if rest.startswith("~") else rest
        if (rest.startswith((".", "/")) or rest.count("/") > 1) and not Path(rest).is_dir():
            raise UserError(f"no such model folder: {rest}; mend: check the path")
        on_gpu = torch.cuda.is_available()
        try:
            processor = AutoProcessor.from_pretrained(rest)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                rest, dtype="auto" if on_gpu else torch.float32
            )
        except Exception as error:  # damaged weights, unknown classes, no network
            raise UserError(
                f"cannot load the model {rest!r} ({_first_line(error)}); "
                "mend: name a folder or a hub model with weights and a processor"
            ) from error
        version = ""
        if adapter is not None:
            folder = Path(adapter).expanduser()
            version = name_of(folder)
            model = add_adapter(model, folder, "default")
        policy = cls(model.to("cuda" if on_gpu else "cpu").eval(), processor)
        policy.version = version
        return policy

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with whatever else is waiting for one."""
        return await self.ask(conversation, sampling, self._own)

    async def ask(
        self, conversation: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> Reply:
        """`act`, by an adapter that `with_adapter` loaded."""
        prompt = self.renderer.prompt(conversation)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(prompt, sampling, answer, _TICKET.get(), adapter))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        while self._waiting:
            await self._gather()
            # Whoever was cancelled (its run was broken off) waits no longer.
            self._waiting = [r for r in self._waiting if not r.answer.done()]
            # Threads bring requests in any order; the same requests make the same batch.
            self._waiting.sort(key=lambda request: request.ticket)
            if not self._waiting:
                continue
            adapter = self._waiting[0].adapter
            same = [r for r in self._waiting if r.adapter == adapter]
            others = [r for r in self._waiting if r.adapter != adapter]
            batch = same[: self._batch_size]
            self._waiting = same[len(batch) :] + others
            try:
                with playing_by(self.model, adapter):
                    replies = self._answer(batch)
            except Exception as error:
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            for request, reply in zip(batch, replies, strict=True):
                if not request.answer.done():
                    request.answer.set_result(reply)

    def enter(self) -> None:
        """Count an episode whose requests are waited for, and give it its place in batches."""
        self._playing += 1
        self._entered += 1
        _TICKET.set(self._entered)

    def leave(self) -> None:
        """Wait for it no longer."""
        self._playing -= 1

    async def _gather(self) -> None:
        """Wait until every episode that plays is waiting, a batch is full, or patience ends."""
        seen, since = -1, time.monotonic()
        while True:
            await asyncio.sleep(0 if seen < 0 else TICK)
            if len(self._waiting) != seen:
                seen, since = len(self._waiting), time.monotonic()
            if seen >= min(self._playing, self._batch_size):
                return
            if self._patience is not None and time.monotonic() - since > self._patience:
                return

    def _answer(self, batch: Sequence[_Request]) -> list[Reply]:
        prompts = [request.prompt for request in batch]
        drawn, logprobs = self.generate(prompts, [request.sampling for request in batch])
        replies = []
        for prompt, request, ids, values in zip(prompts, batch, drawn, logprobs, strict=True):
            limit = request.sampling.max_tokens
            ids, values = ids[:limit], values[:limit]
            replies.append(
                Reply(
                    text=self.renderer.decode_reply(ids),
                    prompt_ids=prompt.ids,
                    token_ids=ids,
                    logprobs=values,
                    image_tokens=prompt.image_tokens,
                    cut=ids[-1:] != (self.renderer.eos_token_id,),
                )
            )
        return replies

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]
    ) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
        """Token ids and log-probabilities of one reply to each prompt.

        A reply ends with the end token, or without it where its limit came first.
        """
        inputs = model_inputs(self.model, self.renderer, prompts)
        length = inputs["input_ids"].shape[1]
        draw = _Draw(samplings, self.vision_token_ids)
        with _sampling(self.model):
            output = self.model.generate(
                **inputs,
                max_new_tokens=max(s.max_tokens for s in samplings),
                do_sample=False,  # `draw` leaves one token a row to choose from
                eos_token_id=self.renderer.eos_token_id,
                pad_token_id=_pad_id(self.renderer),
                logits_processor=LogitsProcessorList([draw]),
            )
        tokens = output[:, length:].tolist()
        values = torch.stack(draw.logprobs, dim=1).tolist()
        ids, kept = [], []
        for row, row_values in zip(tokens, values, strict=True):
            ended = self.renderer.eos_token_id in row
            end = row.index(self.renderer.eos_token_id) + 1 if ended else None
            ids.append(tuple(row[:end]))
            kept.append(tuple(row_values[:end]))
        return ids, kept

    def with_adapter(self, name: str, path: Path) -> AdaptedHF:
        """The policy that plays by an adapter over the same model.

        Raises:
            UserError: the adapter does not fit, or another one is called so.
        """
        path = path.resolve()
        if self._adapters.setdefault(name, path) != path:
            raise UserError(f"{name} is another adapter; mend: publish under a new step")
        if name not in getattr(self.model, "peft_config", {}):
            bare = not hasattr(self.model, "peft_config")
            try:
                self.model = add_adapter(self.model, path, name)
            except UserError:
                del self._adapters[name]
                raise
            self._own = "" if bare else self._own
        return AdaptedHF(self, name, path)

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter; one that is not known is none."""
        if self._adapters.pop(name, None) is not None:
            self.model.delete_adapter(name)

    def imitating(self, policy: Policy) -> Policy:
        """A policy that plays as `policy` does, in this model's tokens: demonstrations for SFT."""
        return _Imitation(self.renderer, policy)


class _Imitation(Policy):
    kind = "demonstration"

    def __init__(self, renderer: Renderer, policy: Policy) -> None:
        self._renderer = renderer
        self._policy = policy
        self.spec = policy.spec
        self.needs_gold = policy.needs_gold
        self.vision_token_ids = renderer.vision_token_ids

    def for_case(self, case: Any) -> Policy:
        return _Imitation(self._renderer, self._policy.for_case(case))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        prompt = self._renderer.prompt(conversation)
        reply = await self._policy.act(conversation, sampling)
        return Reply(
            text=reply.text,
            prompt_ids=prompt.ids,
            token_ids=self._renderer.encode_reply(reply.text),
            image_tokens=prompt.image_tokens,
        )

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> Policy:
        raise UserError("an imitation is made from a model's policy; it has no spec of its own")


class _Draw(LogitsProcessor):
    """Turns scores into one chosen token a row, and keeps its log-probability.

    The draw is by inverse transform in float64 over the tempered distribution without vision
    tokens; greedy where the temperature is 0.
    """

    def __init__(self, samplings: Sequence[Sampling], banned: Sequence[int]) -> None:
        steps = max(s.max_tokens for s in samplings)
        self._uniform = np.stack([np.random.default_rng(s.seed).random(steps) for s in samplings])
        self._temperature = torch.tensor([[s.temperature] for s in samplings])
        self._top_p = torch.tensor([[s.top_p] for s in samplings])
        self._banned = list(banned)
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.double()
        scores[:, self._banned] = -torch.inf
        heat = self._temperature.to(scores.device)
        greedy = heat == 0
        logprobs = torch.log_softmax(scores / torch.where(greedy, 1.0, heat), dim=-1)
        if bool((self._top_p < 1).any()):
            logprobs = _nucleus(logprobs, self._top_p.to(scores.device))
        total = logprobs.exp().cumsum(dim=-1)
        uniform = torch.from_numpy(self._uniform[:, len(self.logprobs)]).to(scores.device)
        target = uniform[:, None] * total[:, -1:]
        chosen = torch.searchsorted(total, target, right=True)
        chosen = torch.where(greedy, scores.argmax(dim=-1, keepdim=True), chosen)
        self.logprobs.append(logprobs.gather(1, chosen)[:, 0])
        only = torch.full_like(scores, -torch.inf)
        return only.scatter_(1, chosen, 0.0)


def _nucleus(logprobs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    ordered, order = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = torch.where(before < top_p, ordered, -torch.inf)
    kept = torch.empty_like(logprobs).scatter_(1, order, ordered)
    return torch.log_softmax(kept, dim=-1)


@contextmanager
def _sampling(model: Any) -> Iterator[None]:
    """The model as a sampler: in eval mode, and without generation settings of its own.

    A checkpoint's repetition penalty or banned words would change the distribution behind the
    recorded log-probabilities' back.
    """
    holders = {id(m): m for m in (model, getattr(model, "get_base_model", lambda: model)())}
    held = [(m, m.generation_config) for m in holders.values() if hasattr(m, "generation_config")]
    was_training = model.training
    model.eval()
    for holder, _ in held:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, config in held:
            holder.generation_config = config
        model.train(was_training)


def model_inputs(model: Any, renderer: Renderer, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What `model.forward` and `generate` take for prompts of different lengths, padded left."""
    import inspect

    width = max(len(prompt.ids) for prompt in prompts)
    pad = _pad_id(renderer)
    ids = torch.tensor([[pad] * (width - len(p.ids)) + list(p.ids) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p.ids)) + [1] * len(p.ids) for p in prompts])
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    images = [image for prompt in prompts for image in prompt.images]
    if images:
        inputs |= renderer.processor.image_processor(images=images, return_tensors="pt")
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        accepted = inspect.signature(base.forward).parameters
        for name in ("mm_token_type_ids", "token_type_ids"):
            if name in accepted:
                inputs[name] = (ids == renderer.image_token_id).long() * mask
                break
    return {name: value.to(model.device) for name, value in inputs.items()}


def _pad_id(renderer: Renderer) -> int:
    pad = renderer.tokenizer.pad_token_id
    return int(pad if pad is not None else renderer.eos_token_id)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
