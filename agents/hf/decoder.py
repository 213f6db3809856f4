"""Continuous batching: replies to many requests at once, token by token.

Requests join while others are under way and leave when their reply ends. The tokens sampled for a
request depend only on its own scores and seed. No token is computed twice: a conversation continues
from the prefix cache of its last turn, and equal prompts, such as those of a group's members, are
prefilled once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from medgym.policy import Sampling

from ..rendering import Prompt
from .kv_cache import CachedPrefix, PrefixCache
from .prefill import Batch, ModelRunner, Prefill
from .sampling import RequestRng, sample_tokens

COMPACT_BELOW = 0.75
"""Rows of finished requests are removed when fewer than this share of the rows is under way."""


@dataclass(eq=False)
class Request:
    """One reply to be sampled.

    Attributes:
        prompt, sampling: what it answers, and how it is sampled.
        episode: the number of its episode.
        adapter: which weights play. A prefix that was cached under others is not used.
        caches: whether its prompt and reply are put into the prefix cache.
        ids, logprobs: what was sampled so far.
        over: whether the reply has ended.
    """

    prompt: Prompt
    sampling: Sampling
    episode: int = 0
    adapter: Hashable = None
    caches: bool = False
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        self.rng = RequestRng(self.sampling)

    def restart(self) -> None:
        """Forget what was sampled; the same tokens come again, by the same seed."""
        self.ids, self.logprobs, self.over = [], [], False

    def prefix_key(self) -> Hashable:
        """The key of the prefix that this prompt continues: the turn before it, or the prompt
        itself where it is the first. The entry of a key covers all of the key's tokens except the
        last one."""
        prompt = self.prompt
        if not prompt.held:
            return self.adapter, prompt.ids, prompt.hashes()
        return self.adapter, prompt.ids[: prompt.held], prompt.hashes(prompt.held_images)

    def reply_key(self) -> Hashable:
        """The key of its prompt and reply, which the next turn continues."""
        return self.adapter, self.prompt.ids + tuple(self.ids), self.prompt.hashes()


class Decoder:
    """Samples replies.

    Args:
        runner: runs the model. prefix_cache: what is kept between turns.
        stops: tokens that end a reply. banned: tokens that are never sampled.
    """

    def __init__(
        self,
        runner: ModelRunner,
        prefix_cache: PrefixCache,
        stops: frozenset[int],
        banned: Sequence[int],
    ) -> None:
        self._runner = runner
        self._prefix_cache = prefix_cache
        self._stops = stops
        self._banned = torch.tensor(list(banned), device=runner.model.device)
        self._requests: list[Request] = []
        self._batch: Batch | None = None

    @property
    def live(self) -> list[Request]:
        """The requests under way, in the order of their rows."""
        return [request for request in self._requests if not request.over]

    def clear(self) -> list[Request]:
        """Drop all requests; returns those that were under way."""
        live, self._requests, self._batch = self.live, [], None
        return live

    def admit(self, requests: Sequence[Request]) -> None:
        """Prefill the requests' prompts and let them join the batch."""
        same: dict[Hashable, list[Request]] = {}
        for request in requests:
            key = request.adapter, request.prompt.ids, request.prompt.hashes()
            same.setdefault(key, []).append(request)
        groups = list(same.values())
        prefills = [Prefill(group[0].prompt, self._find(group)) for group in groups]
        wanted = max(request.sampling.max_tokens for request in requests)
        joining: list[tuple[Batch, Sequence[int]]] = []
        joined: list[Request] = []
        for batch, places in self._runner.prefill(prefills, wanted):
            rows: list[int] = []
            for row, place in enumerate(places):
                members = groups[place]
                self._cache_prompt(batch, row, members, prefills[place].cached)
                rows += [row] * len(members)
                joined += members
            joining.append((batch, rows))
        live = [row for row, request in enumerate(self._requests) if not request.over]
        if self._batch is not None and live:
            joining.insert(0, (self._batch, live))
        if len(joining) == 1 and len(groups) == len(requests) and not live:
            self._batch = joining[0][0]
        else:
            self._batch = self._runner.join(joining, wanted)
        self._requests = [*self.live, *joined]

    def _find(self, group: Sequence[Request]) -> CachedPrefix | None:
        key = group[0].prefix_key()
        found = None
        for request in group:
            found = self._prefix_cache.find(key, request.episode)
            if request.prompt.held:
                self._prefix_cache.release(key, request.episode)
        return found

    def _cache_prompt(
        self, batch: Batch, row: int, group: Sequence[Request], found: CachedPrefix | None
    ) -> None:
        """Cache the first prompt of a case for members of its group that come later."""
        prompt, users = group[0].prompt, {each.episode for each in group if each.caches}
        if users and not prompt.held and found is None:
            prefix = batch.prefix(row, len(prompt.pictures), dropping=1)
            prefix.users |= users
            self._prefix_cache.put(group[0].prefix_key(), prefix)

    def step(self) -> list[Request]:
        """Sample one token of every request; returns those whose reply ends with it."""
        batch = self._batch
        assert batch is not None
        steps = [min(len(each.ids), each.sampling.max_tokens - 1) for each in self._requests]
        rngs = [request.rng for request in self._requests]
        banned = self._banned.to(batch.scores.device)
        tokens, logprobs = sample_tokens(batch.scores, rngs, steps, banned)
        # One transfer: a token's number is exact in float64.
        sampled = torch.cat([tokens.to(logprobs.dtype), logprobs], dim=1).tolist()
        ended = []
        for row, (request, pair) in enumerate(zip(self._requests, sampled, strict=True)):
            if request.over:
                continue
            token, logprob = pair
            request.ids.append(int(token))
            request.logprobs.append(logprob)
            if request.ids[-1] in self._stops or len(request.ids) == request.sampling.max_tokens:
                request.over = True
                ended.append(request)
                self._cache_reply(batch, row, request)
        live = [row for row, request in enumerate(self._requests) if not request.over]
        if not live:
            self.clear()
            return ended
        left = (self._requests[row] for row in live)
        wanted = max(request.sampling.max_tokens - len(request.ids) for request in left)
        if len(live) < COMPACT_BELOW * len(self._requests):
            batch = self._runner.join([(batch, live)], wanted)
            tokens = tokens[torch.tensor(live, device=tokens.device)]
            self._requests = [self._requests[row] for row in live]
        self._batch = self._runner.decode(batch, tokens, wanted)
        return ended

    def _cache_reply(self, batch: Batch, row: int, request: Request) -> None:
        """Cache a prompt with its reply, except the last token, which no forward pass has seen."""
        if not request.caches:
            return
        key = request.reply_key()
        if self._prefix_cache.find(key, request.episode) is None:
            prefix = batch.prefix(row, len(request.prompt.pictures))
            prefix.users.add(request.episode)
            self._prefix_cache.put(key, prefix)


def decode_all(decoder: Decoder, requests: Sequence[Request]) -> None:
    """Sample the requests' replies to their end."""
    decoder.admit(requests)
    while decoder.live:
        decoder.step()
