"""Replies, token by token, of many conversations at once: `Decoder`.

Rows join while others are under way and leave when their reply ends. What a reply draws depends on
its own scores and seed alone. No token is read twice: a conversation goes on from what its last
turn left behind, and prompts that are the same, as those of a group's members, are read once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from medgym.policy import Sampling

from ..rendering import Prompt
from .kv_cache import Held, Holdings
from .prefill import Batch, Reader, Reading
from .sampling import Chance, draw

CROWD = 0.75
"""Rows that are over are swept out when fewer than this part is still under way."""


@dataclass(eq=False)
class Row:
    """One reply.

    Attributes:
        prompt, sampling: what it answers, and how it is drawn.
        ticket: of its episode. player: which weights play; what is held under others is not used.
        ids, logprobs: what was drawn so far.
        holds: whether what it leaves behind may be continued.
    """

    prompt: Prompt
    sampling: Sampling
    ticket: int = 0
    player: Hashable = None
    holds: bool = False
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        self.chance = Chance(self.sampling)

    def began_with(self) -> Hashable:
        """The key of what this prompt may continue: the turn before it, or itself where it is the
        first. What is under a key covers all of the key's tokens but the last one."""
        prompt = self.prompt
        if not prompt.held:
            return self.player, prompt.ids, prompt.hashes()
        return self.player, prompt.ids[: prompt.held], prompt.hashes(prompt.held_images)

    def ends_with(self) -> Hashable:
        """The key of what it leaves behind."""
        return self.player, self.prompt.ids + tuple(self.ids), self.prompt.hashes()


class Decoder:
    """Draws replies.

    Args:
        reader: runs the model. holdings: what is held between turns.
        stops: tokens that end a reply. banned: tokens that are never drawn.
    """

    def __init__(
        self, reader: Reader, holdings: Holdings, stops: frozenset[int], banned: Sequence[int]
    ) -> None:
        self._reader = reader
        self._holdings = holdings
        self._stops = stops
        self._banned = torch.tensor(list(banned), device=reader.model.device)
        self._rows: list[Row] = []
        self._batch: Batch | None = None

    @property
    def live(self) -> list[Row]:
        """The rows under way."""
        return [row for row in self._rows if not row.over]

    def clear(self) -> list[Row]:
        """Break everything off; returns what was under way."""
        live, self._rows, self._batch = self.live, [], None
        return live

    def admit(self, rows: Sequence[Row]) -> None:
        """Read the rows' prompts and let them join."""
        same: dict[Hashable, list[Row]] = {}
        for row in rows:
            key = row.player, row.prompt.ids, row.prompt.hashes()
            same.setdefault(key, []).append(row)
        groups = list(same.values())
        readings = [Reading(group[0].prompt, self._found(group)) for group in groups]
        wanted = max(row.sampling.max_tokens for row in rows)
        joining: list[tuple[Batch, Sequence[int]]] = []
        joined: list[Row] = []
        for batch, places in self._reader.read(readings, wanted):
            lines: list[int] = []
            for line, place in enumerate(places):
                members = groups[place]
                self._hold_first(batch, line, members, readings[place].held)
                lines += [line] * len(members)
                joined += members
            joining.append((batch, lines))
        live = [line for line, row in enumerate(self._rows) if not row.over]
        if self._batch is not None and live:
            joining.insert(0, (self._batch, live))
        if len(joining) == 1 and len(groups) == len(rows) and not live:
            self._batch = joining[0][0]
        else:
            self._batch = self._reader.join(joining, wanted)
        self._rows = [*self.live, *joined]

    def _found(self, group: Sequence[Row]) -> Held | None:
        key = group[0].began_with()
        held = None
        for row in group:
            held = self._holdings.find(key, row.ticket)
            if row.prompt.held:
                self._holdings.release(key, row.ticket)
        return held

    def _hold_first(self, batch: Batch, line: int, group: Sequence[Row], held: Held | None) -> None:
        """Hold the first prompt of a case for members of its group that come later."""
        prompt, users = group[0].prompt, {row.ticket for row in group if row.holds}
        if users and not prompt.held and held is None:
            first = batch.held(line, len(prompt.pictures), dropping=1)
            first.users |= users
            self._holdings.put(group[0].began_with(), first)

    def step(self) -> list[Row]:
        """Draw one token of every row; returns those whose reply ends with it."""
        batch = self._batch
        assert batch is not None
        steps = [min(len(row.ids), row.sampling.max_tokens - 1) for row in self._rows]
        chances = [row.chance for row in self._rows]
        banned = self._banned.to(batch.scores.device)
        tokens, logprobs = draw(batch.scores, chances, steps, banned)
        # One transfer: a token's number is exact in float64.
        drawn = torch.cat([tokens.to(logprobs.dtype), logprobs], dim=1).tolist()
        ended = []
        for line, (row, (token, logprob)) in enumerate(zip(self._rows, drawn, strict=True)):
            if row.over:
                continue
            row.ids.append(int(token))
            row.logprobs.append(logprob)
            if row.ids[-1] in self._stops or len(row.ids) == row.sampling.max_tokens:
                row.over = True
                ended.append(row)
                self._hold(batch, line, row)
        live = [line for line, row in enumerate(self._rows) if not row.over]
        if not live:
            self.clear()
            return ended
        wanted = max(self._rows[i].sampling.max_tokens - len(self._rows[i].ids) for i in live)
        if len(live) < CROWD * len(self._rows):
            batch = self._reader.join([(batch, live)], wanted)
            tokens = tokens[torch.tensor(live, device=tokens.device)]
            self._rows = [self._rows[line] for line in live]
        self._batch = self._reader.extend(batch, tokens, wanted)
        return ended

    def _hold(self, batch: Batch, line: int, row: Row) -> None:
        """Hold what a reply leaves behind: all but its last token, which was not read."""
        if not row.holds:
            return
        key = row.ends_with()
        if self._holdings.find(key, row.ticket) is None:
            held = batch.held(line, len(row.prompt.pictures))
            held.users.add(row.ticket)
            self._holdings.put(key, held)


def answer(decoder: Decoder, rows: Sequence[Row]) -> None:
    """Draw the rows' replies to their end."""
    decoder.admit(rows)
    while decoder.live:
        decoder.step()
