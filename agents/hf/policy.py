"""A transformers model as a policy, in process: `hf:PATH`, `hf:PATH@ADAPTER`.

Requests of concurrent episodes are joined into batches. Each reply's chance comes from its own
seed, by inverse transform of one uniform number a token, so that a draw does not depend on which
other requests share the batch. Vision tokens cannot be sampled. What a turn leaves behind in the
model is held for the next one, until its episode leaves or the weights change.
"""

import asyncio
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from medgym.errors import UserError
from medgym.local_model import PATIENCE, LocalModel
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling
from medgym.storage.adapters import check_fit, name_of

from ..imitation import Imitation
from ..rendering import Prompt, Renderer
from .adapters import AdaptedHF, add_adapter, playing_by
from .capabilities import reader_for
from .decoder import Decoder, Row, answer
from .generate import answer_anew
from .inputs import Pixels, base_of
from .kv_cache import Holdings
from .prefill import Reader

TICK = 0.0005
"""Seconds between two looks at who is waiting."""

BURST = 0.02
"""Seconds for which tokens are made at a stretch, before tools and newcomers get their turn."""

_TICKET: ContextVar[int] = ContextVar("ticket", default=0)
"""The place of this task's episode among those that entered."""


@dataclass(eq=False)
class _Request:
    row: Row
    answer: "asyncio.Future[Reply]"
    adapter: str | None = None  # by name; "" for the bare base, None for the model as it is
    since: float = field(default_factory=time.monotonic)


class HFPolicy(LocalModel):
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

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        batch_size: int = 64,
        patience: float | None = PATIENCE,
    ) -> None:
        self.model = model
        self.processor = processor
        self._pixels = Pixels()
        self.renderer = Renderer(processor, _stops_of(model), self._pixels.keep)
        self.vision_token_ids = self.renderer.vision_token_ids
        self._batch_size = batch_size
        self._patience = patience
        self._playing = 0
        self._entered = 0
        self._waiting: list[_Request] = []
        self._underway: list[_Request] = []
        self._server: asyncio.Task[None] | None = None
        self._holdings = Holdings()
        self._weights: list[torch.Tensor] | None = None
        self._state: Hashable = None  # of the weights, when something was last held
        self._decoder: Decoder | None = None
        self._reader: tuple[Hashable, Reader | None] | None = None  # what it was found for
        self._adapters: dict[str, Path] = {}
        self._own: str | None = None  # what our own requests play by, as `_Request.adapter`

    def __getstate__(self) -> dict[str, Any]:
        # What travels to another process is the model; who waits for it here stays.
        left: dict[str, Any] = {"_playing": 0, "_waiting": [], "_underway": [], "_server": None}
        left |= {"_holdings": Holdings(), "_weights": None, "_decoder": None, "_reader": None}
        return vars(self) | left

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "HFPolicy":
        """Load a model folder (or hub name) and, with `@ADAPTER`, a PEFT adapter's folder."""
        from transformers import AutoModelForImageTextToText

        on_gpu = torch.cuda.is_available()
        dtype: Any = "auto" if on_gpu else torch.float32

        def load(path: str) -> Any:
            return AutoModelForImageTextToText.from_pretrained(path, dtype=dtype)

        model, processor, version = _made(rest, adapter, load)
        policy = cls(model.to("cuda" if on_gpu else "cpu").eval(), processor)
        policy.version = version
        return policy

    @classmethod
    def check_spec(cls, rest: str, adapter: str | None) -> None:
        """Make all of it with a model that has shapes and no weights, from its config alone."""
        from transformers import AutoConfig, AutoModelForImageTextToText

        def outline(path: str) -> Any:
            with torch.device("meta"):
                return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(path))

        with warnings.catch_warnings():  # PyTorch's, that no weights of an adapter go in there
            warnings.simplefilter("ignore")
            _made(rest, adapter, outline)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with whatever else is waiting for one."""
        return await self.ask(conversation, sampling, self._own)

    async def ask(
        self, conversation: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> Reply:
        """`act`, by an adapter that `with_adapter` loaded."""
        prompt = self.renderer.prompt(conversation)
        if prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        row = Row(prompt, sampling, _TICKET.get(), holds=self._playing > 0)
        self._waiting.append(_Request(row, future, adapter))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting or self._underway:
            if self._underway:
                await asyncio.sleep(0)  # tools start, and bring new requests
            else:
                await self._gather()
            # Whoever was cancelled (its run was broken off) waits no longer.
            self._waiting = [r for r in self._waiting if not r.answer.done()]
            for request in self._underway:
                request.row.over |= request.answer.done()
            self._underway = [r for r in self._underway if not r.row.over]
            newcomers = self._newcomers()
            if not newcomers and not self._underway:
                continue
            self._waiting = [r for r in self._waiting if r not in newcomers]
            self._underway += newcomers
            try:
                self._play(newcomers)
            except Exception as error:
                for request in self._underway:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                self._underway, self._decoder = [], None
                self._holdings.clear()

    def enter(self) -> None:
        """Count an episode whose requests are waited for, and give it its place in batches."""
        self._playing += 1
        self._entered += 1
        _TICKET.set(self._entered)

    def leave(self) -> None:
        """Wait for it no longer, and forget it."""
        self._playing -= 1
        self._holdings.leave(_TICKET.get())
        if not self._playing:
            self._holdings.clear()

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

    def _newcomers(self) -> list[_Request]:
        """Those who join what is under way; a batch is of one adapter."""
        # Threads bring requests in any order; the same requests make the same batch.
        self._waiting.sort(key=lambda request: request.row.ticket)
        if not self._waiting:
            return []
        if self._underway:
            due = min(request.since for request in self._waiting) + (self._patience or 0)
            coming = len(self._underway) + len(self._waiting) < self._playing
            others = any(r.adapter != self._underway[0].adapter for r in self._waiting)
            if others or (coming and time.monotonic() < due):
                return []
        adapter = (self._underway or self._waiting)[0].adapter
        room = self._batch_size - len(self._underway)
        return [r for r in self._waiting if r.adapter == adapter][:room]

    def _play(self, newcomers: Sequence[_Request]) -> None:
        """Let the newcomers join, and make tokens for a while: until a reply ends or the burst is
        over, or without patience until all have ended."""
        adapter = self._underway[0].adapter
        adapter = self._own if adapter is None else adapter
        rows = [request.row for request in newcomers]
        with self._sampling(adapter):
            reader = self._found_reader()
            if reader is None:
                answer_anew(self.model, self.renderer, [r.row for r in self._underway])
                return self._deliver()
            if self._decoder is None:
                self._decoder = self._decoder_of(reader, self._holdings)
            if rows:
                self._forget_if_changed()
                for row in rows:
                    row.player = adapter
                self._decoder.admit(rows)
            until = time.monotonic() + BURST
            while self._decoder.live:
                ended = self._decoder.step()
                if self._patience is not None and (ended or time.monotonic() > until):
                    break
        self._deliver()

    def _deliver(self) -> None:
        for request in self._underway:
            if request.row.over and not request.answer.done():
                request.answer.set_result(self._reply(request.row))
        self._underway = [r for r in self._underway if not r.row.over]

    def _reply(self, row: Row) -> Reply:
        return Reply(
            text=self.renderer.decode_reply(row.ids),
            prompt_ids=row.prompt.ids,
            token_ids=tuple(row.ids),
            logprobs=tuple(row.logprobs),
            image_tokens=row.prompt.image_tokens,
            cut=row.ids[-1] not in self.renderer.stop_token_ids,
        )

    def generate(
        self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]
    ) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
        """Token ids and log-probabilities of one reply to each prompt.

        A reply ends with a token that stops it, or without one where its limit came first.
        """
        rows = [Row(*each) for each in zip(prompts, samplings, strict=True)]
        with self._sampling(self._own):
            reader = self._found_reader()
            if reader is None:
                answer_anew(self.model, self.renderer, rows)
            else:
                answer(self._decoder_of(reader, Holdings()), rows)
        return [tuple(row.ids) for row in rows], [tuple(row.logprobs) for row in rows]

    def _decoder_of(self, reader: Reader, holdings: Holdings) -> Decoder:
        return Decoder(reader, holdings, self.renderer.stop_token_ids, self.vision_token_ids)

    def _found_reader(self) -> Reader | None:
        """What reads this model turn by turn, if it can be read so."""
        base = base_of(self.model)
        found_for = (id(base), base.device, base.dtype)
        if self._reader is None or self._reader[0] != found_for:
            self._reader = (found_for, reader_for(self.model, self.renderer, self._pixels))
            self._decoder = None
        return self._reader[1]

    def _forget_if_changed(self) -> None:
        """Hold nothing that other weights have left behind."""
        if self._weights is None:
            self._weights = list(self.model.parameters())
        state = [(weight.data_ptr(), weight._version) for weight in self._weights]
        active = getattr(self.model, "active_adapters", None)  # of a bare model, a method
        now = hash((tuple(state), None if callable(active) else str(active)))
        if now != self._state:
            self._state = now
            self._holdings.clear()

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

    def with_adapter(self, name: str, path: Path) -> AdaptedHF:
        """The policy that plays by an adapter over the same model.

        Raises:
            UserError: the adapter does not fit, or another one is called so.
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
            self._weights = None
        return AdaptedHF(self, name, path)

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter; one that is not known is none."""
        if self._adapters.pop(name, None) is not None:
            self.model.delete_adapter(name)
            self._weights = None

    def imitating(self, policy: Policy) -> Policy:
        """A policy that plays as `policy` does, in this model's tokens: demonstrations for SFT."""
        return Imitation(self.renderer, policy)


def _made(rest: str, adapter: str | None, load: Callable[[str], Any]) -> tuple[Any, Any, str]:
    """What a spec names: the model that `load` makes of its path, with the adapter if there is one,
    its processor, and the version that plays."""
    from transformers import AutoProcessor

    rest = str(Path(rest).expanduser()) if rest.startswith("~") else rest
    if (rest.startswith((".", "/")) or rest.count("/") > 1) and not Path(rest).is_dir():
        raise UserError(f"no such model folder: {rest}; fix: check the path")
    folder = Path(adapter).expanduser() if adapter is not None else None
    version = name_of(folder) if folder is not None else ""
    try:
        processor = AutoProcessor.from_pretrained(rest)
        Renderer(processor)  # what does not fit is said before the weights are loaded
        if folder is not None and Path(rest).is_dir():
            check_fit(folder, Path(rest))
        model = load(rest)
    except UserError:
        raise
    except Exception as error:  # damaged weights, unknown classes, no network
        raise UserError(
            f"cannot load the model {rest!r} ({_first_line(error)}); "
            "fix: name a folder or a hub model with weights and a processor"
        ) from error
    if folder is not None:
        model = add_adapter(model, folder, "default")
    return model, processor, version


def _stops_of(model: Any) -> frozenset[int]:
    """The tokens that end a reply by the checkpoint's own word: one, several or none."""
    stops = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset([stops] if isinstance(stops, int) else stops or ())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
