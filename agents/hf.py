"""A transformers model as a policy, in process: `hf:PATH`, `hf:PATH@ADAPTER`.

Requests of concurrent episodes are joined into batches. Each reply's chance comes from its own
seed, by inverse transform of one uniform number a token, so that a draw does not depend on which
other requests share the batch. Vision tokens cannot be sampled.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling

from .rendering import Prompt, Renderer


@dataclass(frozen=True)
class _Request:
    prompt: Prompt
    sampling: Sampling
    answer: "asyncio.Future[Reply]"


class HFPolicy(Policy):
    """A vision-language model that samples replies.

    Args:
        model: any transformers image-text-to-text model, with or without a PEFT adapter.
        processor: its processor, with a chat template.
        batch_size: requests answered at once.
    """

    kind: ClassVar[Literal["sampled"]] = "sampled"  # type: ignore[misc]

    def __init__(self, model: Any, processor: Any, *, batch_size: int = 64) -> None:
        self.model = model
        self.renderer = Renderer(processor)
        self.vision_token_ids = self.renderer.vision_token_ids
        self._batch_size = batch_size
        self._waiting: list[_Request] = []
        self._server: asyncio.Task[None] | None = None

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
        if adapter is not None:
            model = _with_adapter(model, adapter)
        return cls(model.to("cuda" if on_gpu else "cpu").eval(), processor)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with whatever else is waiting for one."""
        prompt = self.renderer.prompt(conversation)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(prompt, sampling, answer))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        while self._waiting:
            # Every episode that can run gets to its next request first: a few turns of the event
            # loop without a newcomer mean that all are waiting. Batches so depend on the order of
            # episodes alone, not on the clock.
            seen, quiet = -1, 0
            while quiet < 3:
                await asyncio.sleep(0)
                quiet = quiet + 1 if len(self._waiting) == seen else 0
                seen = len(self._waiting)
            # Whoever was cancelled (its run was broken off) waits no longer.
            self._waiting = [r for r in self._waiting if not r.answer.done()]
            batch = self._waiting[: self._batch_size]
            del self._waiting[: len(batch)]
            if not batch:
                continue
            try:
                replies = self._answer(batch)
            except Exception as error:
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            for request, reply in zip(batch, replies, strict=True):
                if not request.answer.done():
                    request.answer.set_result(reply)

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

    def imitating(self, policy: Policy) -> Policy:
        """A policy that plays as `policy` does, in this model's tokens: demonstrations for SFT."""
        return _Imitation(self.renderer, policy)


class _Imitation(Policy):
    kind = "demonstration"

    def __init__(self, renderer: Renderer, policy: Policy) -> None:
        self._renderer = renderer
        self._policy = policy
        self.spec = policy.spec
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


def _with_adapter(model: Any, adapter: str) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    folder = Path(adapter).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise UserError(f"no adapter in {adapter}; mend: name a folder with adapter_config.json")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
        # PEFT only warns of weights that it did not find, and says nothing of those left over.
        odd = get_peft_model_state_dict(adapted).keys() ^ load_peft_weights(str(folder)).keys()
        if odd:
            raise ValueError(f"{len(odd)} weights without a counterpart, as {min(odd)}")
    except Exception as error:
        raise UserError(
            f"the adapter {adapter} does not fit the model ({_first_line(error)}); "
            "mend: name the adapter's own base"
        ) from error
    return adapted


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
