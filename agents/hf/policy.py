"""A transformers model as a policy, in this process: `hf:PATH`, `hf:PATH@ADAPTER`.

Requests of concurrent episodes are joined into batches. Each request has its own random generator,
from its own seed, so that its tokens do not depend on the other requests of its batch. Vision
tokens cannot be sampled. The keys and values of a turn are kept in a prefix cache for the next one,
until its episode leaves or the weights change.
"""

import asyncio
import time
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from PIL import Image

from medgym.errors import UserError
from medgym.local_model import PATIENCE, ForcedTokens, LocalModel
from medgym.messages import Message, Reply
from medgym.model_options import read_model
from medgym.models import add_adapter, as_stops, load_model
from medgym.policy import Policy, Sampling, WrappedPolicy
from medgym.spec import with_adapter
from medgym.tool_form import ToolFormName, take_tool_form

from ..imitation import Imitation
from ..rendering import Prompt, Renderer
from .adapters import WatchedWeights, playing_by
from .capabilities import computed_in, runner_for
from .decoder import Decoder, Request, decode_all
from .generate import generate_replies
from .gpu_limit import error_of, fewer_at_once
from .inputs import PixelCache, base_of
from .kv_cache import PrefixCache
from .logprobs import count_image_features, forced, in_mode
from .prefill import ModelRunner

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

TICK = 0.0005
"""Seconds between two looks at which requests are waiting."""

BURST = 0.02
"""Seconds for which tokens are sampled at once, before tools and new requests get their turn."""

_EPISODE: ContextVar[int] = ContextVar("episode", default=0)
"""The number of this task's episode, counted in the order in which episodes entered."""


@dataclass(eq=False)
class _PendingRequest:
    request: Request
    answer: "asyncio.Future[Reply]"
    adapter: str | None = None  # by name; "" for the bare base, None for the model as it is
    since: float = field(default_factory=time.monotonic)


class HFPolicy(LocalModel):
    """A vision-language model that samples replies.

    Args:
        model: any transformers image-text-to-text model, with or without a PEFT adapter.
        processor: its processor, with a chat template.
        batch_size: requests answered at once.
        patience: seconds without a new request after which the requests that wait are answered,
            though some episodes are still busy with tools. None waits for every episode, so that
            batches, and with them the last bits of every number, do not depend on the clock: for
            training.
        tool_form: how it is offered tools and calls them.
    """

    kind: ClassVar[Literal["sampled"]] = "sampled"  # type: ignore[misc]

    def __init__(
        self,
        model: "PreTrainedModel",
        processor: "ProcessorMixin",
        *,
        batch_size: int = 64,
        patience: float | None = PATIENCE,
        tool_form: ToolFormName = "text",
    ) -> None:
        self.model = model
        self.processor = processor
        self._pixels = PixelCache()
        ends = getattr(model, "generation_config", None)
        stops = as_stops(getattr(ends, "eos_token_id", None))
        self.renderer = Renderer(processor, stops, self._pixels.keep, tool_form)
        self.vision_token_ids = self.renderer.vision_token_ids
        self.tool_role = self.renderer.tool_role
        self._batch_size = batch_size
        self._patience = patience
        self._playing = 0
        self._entered = 0
        self._waiting: list[_PendingRequest] = []
        self._underway: list[_PendingRequest] = []
        self._server: asyncio.Task[None] | None = None
        self._prefix_cache = PrefixCache()
        self._weights = WatchedWeights()
        self._decoder: Decoder | None = None
        self._runner: tuple[Hashable, ModelRunner | None] | None = None  # what it was found for
        self._adapters: dict[str, Path] = {}
        self._own: str | None = None  # what our own requests play by, as `_PendingRequest.adapter`

    def __getstate__(self) -> dict[str, object]:
        # The model travels to another process; the requests that wait for it here stay.
        left: dict[str, object] = {"_playing": 0, "_waiting": [], "_underway": [], "_server": None}
        left |= dict.fromkeys(("_decoder", "_runner"))
        left |= {"_prefix_cache": PrefixCache(), "_weights": WatchedWeights()}
        return vars(self) | left

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "HFPolicy":
        """Load a model by name and, with `@ADAPTER`, a PEFT adapter's folder."""
        rest, form = take_tool_form("hf", rest)
        check = partial(Renderer, tool_form=form)
        model, processor, version = load_model(*read_model("hf", rest, adapter), check=check)
        policy = cls(model, processor, tool_form=form)
        policy.version = version
        return policy

    @classmethod
    def check_spec(cls, rest: str, adapter: str | None) -> None:
        """Make all of it with a model that has shapes and no weights, from its config."""
        with warnings.catch_warnings():  # PyTorch's, that no weights of an adapter go in there
            warnings.simplefilter("ignore")
            rest, form = take_tool_form("hf", rest)
            check = partial(Renderer, tool_form=form)
            load_model(*read_model("hf", rest, adapter), check=check, weights=False)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with the other requests that wait."""
        return await self.ask(conversation, sampling, self._own)

    async def ask(
        self, conversation: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> Reply:
        """`act`, by an adapter that `with_adapter` loaded."""
        prompt = self.renderer.prompt(conversation)
        if prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        request = Request(prompt, sampling, _EPISODE.get(), caches=self._playing > 0)
        self._waiting.append(_PendingRequest(request, future, adapter))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting or self._underway:
            if self._underway:
                await asyncio.sleep(0)  # tools start, and bring new requests
            else:
                await self._gather()
            # A request that was cancelled (its run was interrupted) waits no longer.
            self._waiting = [r for r in self._waiting if not r.answer.done()]
            for pending in self._underway:
                pending.request.over |= pending.answer.done()
            self._underway = [r for r in self._underway if not r.request.over]
            newcomers = self._newcomers()
            if not newcomers and not self._underway:
                continue
            self._waiting = [r for r in self._waiting if r not in newcomers]
            self._underway += newcomers
            try:
                self._play(newcomers)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Answer what is under way with an error; of a GPU's memory, fewer may try again."""
        underway, self._underway, self._decoder = self._underway, [], None
        self._prefix_cache.clear()
        fewer = fewer_at_once(error, len(underway)) if self._patience is not None else 0
        if fewer:
            self._batch_size = fewer
            for pending in underway:
                pending.request.restart()
            self._waiting += underway
            return
        for pending in underway:
            if not pending.answer.done():
                pending.answer.set_exception(error_of(error, fixed=self._patience is None))

    def enter(self) -> None:
        """Count an episode whose requests are waited for, and number it."""
        self._playing += 1
        self._entered += 1
        _EPISODE.set(self._entered)

    def leave(self) -> None:
        """Wait for it no longer, and drop its prefixes."""
        self._playing -= 1
        self._prefix_cache.leave(_EPISODE.get())
        if not self._playing:
            self._prefix_cache.clear()

    def close(self) -> None:
        """Drop all cached prefixes; the model itself is the caller's."""
        self._prefix_cache.clear()

    async def _gather(self) -> None:
        """Wait until every running episode is waiting, a batch is full, or patience ends."""
        seen, since = -1, time.monotonic()
        while True:
            await asyncio.sleep(0 if seen < 0 else TICK)
            if len(self._waiting) != seen:
                seen, since = len(self._waiting), time.monotonic()
            if seen >= min(self._playing, self._batch_size):
                return
            if self._patience is not None and time.monotonic() - since > self._patience:
                return

    def _newcomers(self) -> list[_PendingRequest]:
        """The requests that join those under way; a batch is of one adapter."""
        # Threads bring requests in any order; the same requests make the same batch.
        self._waiting.sort(key=lambda pending: pending.request.episode)
        if not self._waiting:
            return []
        if self._underway:
            due = min(pending.since for pending in self._waiting) + (self._patience or 0)
            coming = len(self._underway) + len(self._waiting) < self._playing
            others = any(r.adapter != self._underway[0].adapter for r in self._waiting)
            if others or (coming and time.monotonic() < due):
                return []
        adapter = (self._underway or self._waiting)[0].adapter
        room = self._batch_size - len(self._underway)
        return [r for r in self._waiting if r.adapter == adapter][:room]

    def _play(self, newcomers: Sequence[_PendingRequest]) -> None:
        """Let the newcomers join, and sample tokens for a while: until a reply ends or the burst is
        over, or without patience until all have ended."""
        adapter = self._underway[0].adapter
        adapter = self._own if adapter is None else adapter
        requests = [pending.request for pending in newcomers]
        with self._sampling(adapter):
            runner = self._found_runner()
            if runner is None:
                generate_replies(self.model, self.renderer, [r.request for r in self._underway])
                return self._deliver()
            if self._decoder is None:
                self._decoder = self._decoder_of(runner, self._prefix_cache)
            if requests:
                if self._weights.changed(self.model):  # a prefix is of the weights that made it
                    self._prefix_cache.clear()
                for request in requests:
                    request.adapter = adapter
                self._decoder.admit(requests)
            until = time.monotonic() + BURST
            while self._decoder.live:
                ended = self._decoder.step()
                if self._patience is not None and (ended or time.monotonic() > until):
                    break
        self._deliver()

    def _deliver(self) -> None:
        for pending in self._underway:
            if pending.request.over and not pending.answer.done():
                pending.answer.set_result(self._reply(pending.request))
        self._underway = [r for r in self._underway if not r.request.over]

    def _reply(self, request: Request) -> Reply:
        reply = Reply(
            text=self.renderer.decode_reply(request.ids),
            prompt_ids=request.prompt.ids,
            token_ids=tuple(request.ids),
            logprobs=tuple(request.logprobs),
            image_tokens=request.prompt.image_tokens,
            cut=request.ids[-1] not in self.renderer.stop_token_ids,
        )
        return self.renderer.read(reply, request.prompt)

    def generate(
        self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]
    ) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
        """Token ids and log-probabilities of one reply to each prompt.

        A reply ends with a token that stops it, or without one where its limit came first.
        """
        requests = [Request(*each) for each in zip(prompts, samplings, strict=True)]
        with self._sampling(self._own):
            runner = self._found_runner()
            if runner is None:
                generate_replies(self.model, self.renderer, requests)
            else:
                decode_all(self._decoder_of(runner, PrefixCache()), requests)
        return [tuple(each.ids) for each in requests], [tuple(each.logprobs) for each in requests]

    def _decoder_of(self, runner: ModelRunner, prefix_cache: PrefixCache) -> Decoder:
        return Decoder(runner, prefix_cache, self.renderer.stop_token_ids, self.vision_token_ids)

    def _found_runner(self) -> ModelRunner | None:
        """What runs this model turn by turn, if that is possible."""
        base = base_of(self.model)
        found_for = (id(base), base.device, computed_in(base))
        if self._runner is None or self._runner[0] != found_for:
            self._runner = (found_for, runner_for(self.model, self.renderer, self._pixels))
            self._decoder = None
        return self._runner[1]

    @contextmanager
    def _sampling(self, adapter: str | None) -> Iterator[None]:
        """The model as a sampler: by this adapter, and in eval mode."""
        was_training = self.model.training
        if was_training:
            self.model.eval()
        try:
            with playing_by(self.model, adapter):
                yield
        finally:
            if was_training:
                self.model.train()

    def with_adapter(self, name: str, path: Path) -> "AdaptedHF":
        """The policy that plays by an adapter over the same model.

        Raises:
            UserError: the adapter does not fit, or `name` is the name of another adapter.
        """
        path = path.resolve()
        if self._adapters.setdefault(name, path) != path:
            raise UserError(f"{name} is another adapter; fix: publish under a new step")
        if name not in getattr(self.model, "peft_config", {}):
            bare = not hasattr(self.model, "peft_config")
            try:
                self.model = add_adapter(self.model, path, name)
            except UserError:
                del self._adapters[name]
                raise
            self._own = "" if bare else self._own
            self._weights = WatchedWeights()
        return AdaptedHF(self, name, path)

    def drop_adapter(self, name: str) -> None:
        """Remove an adapter from the model. Unknown names are ignored."""
        if self._adapters.pop(name, None) is not None:
            self.model.delete_adapter(name)
            self._weights = WatchedWeights()

    def prompt(self, conversation: Sequence[Message]) -> Prompt:
        """See `LocalModel`."""
        return self.renderer.prompt(conversation)

    def encode_reply(self, text: str) -> tuple[int, ...]:
        """See `LocalModel`."""
        return self.renderer.encode_reply(text)

    def logprobs(
        self,
        rows: Sequence[ForcedTokens],
        images: Sequence[Sequence[Image.Image]] | None = None,
        *,
        temperature: float = 1.0,
        banned: Sequence[int] = (),
        training: bool = False,
    ) -> list[list[float]]:
        """See `LocalModel`."""
        with in_mode(self.model, training=training):
            return forced(
                self.model, self.renderer, rows, images, temperature=temperature, banned=banned
            )

    def count_image_features(self, images: Sequence[Image.Image]) -> int:
        """See `LocalModel`."""
        return count_image_features(self.model, self.renderer, images)

    def imitating(self, policy: Policy) -> Policy:
        """A policy that plays as `policy` does, in this model's tokens: demonstrations for SFT."""
        return Imitation(self.renderer, policy)


class AdaptedHF(WrappedPolicy):
    """An `hf:` policy's model, playing by one of its adapters.

    Attributes:
        version: the adapter's name.
    """

    policy: HFPolicy

    def __init__(self, base: HFPolicy, name: str, path: Path) -> None:
        super().__init__(base)
        self.version = name
        self.spec = with_adapter(base.spec, str(path)) if base.spec else ""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with the other requests for this adapter."""
        return await self.policy.ask(conversation, sampling, self.version)

    def with_adapter(self, name: str, path: Path) -> Policy:
        """See `Policy`; an adapter is over the base, not over this adapter."""
        return self.policy.with_adapter(name, path)
