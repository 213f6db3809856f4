"""What an evaluation took: the tokens of all requests and, with a file of prices, their cost."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgym.consultation.team import Team
from medgym.errors import UserError
from medgym.messages import Usage
from medgym.policy import Policy
from medgym.spec import split_spec
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

PER = 1_000_000
"""Tokens that a price is of."""


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in whatever currency.

    Attributes:
        input: that are read. output: that are written.
        cached: that are read and that the server had read before; by default as `input`.
    """

    input: float
    output: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """The cost of some tokens."""
        cost = usage.prompt_tokens * self.input + usage.completion_tokens * self.output
        if self.cached is not None:
            cost += (usage.cached_tokens or 0) * (self.cached - self.input)
        return cost / PER

    def as_dict(self) -> dict[str, float]:
        """The price as a file of prices has it."""
        return {name: value for name, value in vars(self).items() if value is not None}


def read_prices(path: Path) -> dict[str, Price]:
    """The price of each model: tables of `input`, `output`, and perhaps `cached`.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the prices in {path} cannot be read ({error}); fix: check it") from error
    prices = {}
    for model, table in tables.items():
        values = list(table.values()) if isinstance(table, dict) else []
        is_price = all(
            type(value) in (int, float) and 0 <= value < math.inf for value in values
        ) and isinstance(table, dict)
        if not is_price or table.keys() - {"cached"} != {"input", "output"}:
            raise UserError(
                f"the price of {model!r} in {path} is none; fix: write a table "
                f'["{model}"] with input = and output =, per million tokens, of 0 or more'
            )
        prices[model] = Price(**{name: float(value) for name, value in table.items()})
    if not prices:
        raise UserError(
            f'{path} has no prices; fix: write a table ["MODEL"] with input = and output =, per '
            "million tokens"
        )
    return prices


def price_of(spec: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a policy: under its spec, or under the name of its model."""
    _, rest, adapter = split_spec(spec)
    model = rest.partition("#")[2]
    return next((prices[name] for name in (spec, adapter or "", model) if name in prices), None)


def require_price(path: Path, *policies: Policy) -> dict[str, Price]:
    """The prices in a file, which has one for each policy; of a consultation the roles have theirs.

    Raises:
        UserError: it has none for one of them.
    """
    prices = read_prices(path)
    for policy in policies:
        if isinstance(policy, Team) or price_of(policy.spec, prices) is not None:
            continue
        model = policy.spec.partition("#")[2] or policy.spec
        raise UserError(
            f"{path} has no price for {model}; fix: add a table "
            f'["{model}"] with input = and output =, per million tokens'
        )
    return prices


def usage_of(trajectory: Trajectory) -> Usage | None:
    """The tokens of all requests of a part that one policy played; None where they are not known.

    They are those that the server counted, else those that the trajectory holds. Each request reads
    the conversation again.
    """
    prompt, completion = trajectory.prompt_tokens, trajectory.completion_tokens
    if prompt is not None and completion is not None:
        return Usage(prompt, completion, trajectory.cached_tokens)
    if trajectory.kind == "text" or not trajectory.nodes:
        return None
    held = read = written = 0
    for node in trajectory.nodes:
        if node.role == "assistant":
            read += held
            written += len(node.token_ids)
        held += len(node.token_ids)
    return Usage(read, written)


def whole_usage(trajectory: Trajectory) -> Usage | None:
    """The tokens of all requests of an episode, of a consultation of all its parts; None where they
    are not known of each."""
    parts = [usage_of(part) for _, part in trajectory.parts()]
    known = [usage for usage in parts if usage is not None]
    if len(known) < len(parts):
        return None
    cached = [usage.cached_tokens for usage in known if usage.cached_tokens is not None]
    return Usage(
        sum(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        sum(cached) if len(cached) == len(known) else None,
    )


def _added(one: Usage | None, other: Usage) -> Usage:
    """All tokens of both; cached ones that are not known count as none."""
    so_far = one or Usage(0, 0)
    return Usage(
        so_far.prompt_tokens + other.prompt_tokens,
        so_far.completion_tokens + other.completion_tokens,
        (so_far.cached_tokens or 0) + (other.cached_tokens or 0),
    )


def prices_of(folder: RunFolder) -> dict[str, Price]:
    """The prices that a run was charged by, as it has kept them; none where it has none."""
    kept = folder.manifest.get("prices", {})
    return {model: Price(**price) for model, price in kept.items()}


@dataclass
class Spending:
    """What some episodes, or replies of a judge, took so far.

    Attributes:
        prices: of models; empty where no cost is wanted.
        prompt_tokens, completion_tokens: of all requests whose tokens are known.
        cached_tokens: those of `prompt_tokens` that servers had read before, as far as they say;
            None where none does.
        episodes, counted: all parts that policies played, and those whose tokens are known.
        unpriced: policies without a price.
        by_server: whether a server counted them.
        what: what is counted, as tables and results call it.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    episodes: int = 0
    counted: int = 0
    unpriced: set[str] = field(default_factory=set)
    by_server: bool = False
    cached_tokens: int | None = None
    what: str = "episodes"
    _priced: dict[Price, Usage] = field(default_factory=dict)

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory], prices: Mapping[str, Price]) -> "Spending":
        """What these episodes took."""
        spent = cls(prices)
        for trajectory in trajectories:
            spent.add(trajectory)
        return spent

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode, or all parts of a consultation."""
        for _, part in trajectory.parts():
            by_server = part.prompt_tokens is not None
            self.count(part.policy, usage_of(part), by_server=by_server)

    def count(self, policy: str, usage: Usage | None, *, by_server: bool) -> None:
        """Count what one part took.

        Args:
            policy: the spec of who played it. usage: None where its tokens are not known.
            by_server: whether a server counted them.
        """
        self.episodes += 1
        if usage is None:
            return
        self.counted += 1
        self.by_server = self.by_server or by_server
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if usage.cached_tokens is not None:
            self.cached_tokens = (self.cached_tokens or 0) + usage.cached_tokens
        if self.prices:
            price = price_of(policy, self.prices)
            if price is None:
                self.unpriced.add(policy)
            else:
                self._priced[price] = _added(self._priced.get(price), usage)

    @property
    def cost(self) -> float:
        """Of those that have a price. Tokens are added up first, so that the order of episodes
        changes no digit."""
        return math.fsum(price.of(usage) for price, usage in self._priced.items())

    @property
    def known_cost(self) -> float | None:
        """The cost; None where there are no prices, or one is missing."""
        return self.cost if self.prices and not self.unpriced else None

    @property
    def said(self) -> bool:
        """Whether it is to be told: a server counted the tokens, or there are prices."""
        return bool(self.counted) and (self.by_server or bool(self.prices))

    def figures(self) -> dict[str, int | float | None]:
        """The figures beside a progress bar."""
        tokens = self.prompt_tokens + self.completion_tokens
        return {"tokens": tokens if self.said else None, "cost": self.known_cost}

    def rows(self) -> list[tuple[str, str]]:
        """The figures as rows of a table."""
        if not self.said:
            return []
        some = self.counted < self.episodes
        of = f" (of {self.counted:,} of {self.episodes:,} {self.what})" if some else ""
        rows = [
            ("tokens read", f"{self.prompt_tokens:,}{of}"),
            ("tokens written", f"{self.completion_tokens:,}{of}"),
        ]
        if self.cached_tokens is not None:
            rows.insert(1, ("  of these cached", f"{self.cached_tokens:,}"))
        if self.unpriced:
            rows.append(("cost", f"not known: no price for {', '.join(sorted(self.unpriced))}"))
        elif self.prices:
            rows.append(("cost", f"{self.cost:.4g}{of}"))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """The figures as `results.json` holds them; empty where there is nothing to tell."""
        if not self.said:
            return {}
        found: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            self.what: self.counted,
        }
        if self.cached_tokens is not None:
            found["cached_tokens"] = self.cached_tokens
        if self.prices:
            found["cost"] = self.known_cost
        return {"usage": found}
