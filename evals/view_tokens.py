"""Sampled tokens as text with their probabilities, where the tokenizer that made them is at hand.

A trajectory holds token ids. Their text comes from the tokenizer in the folder of the model that
played: the one that the policy's spec names, or the run's own cold start. Without either (a model
behind an endpoint) a reply is shown as text alone.
"""

import math
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from medgym.policy import split_adapter
from medgym.trajectory import Node

DIGITS = 3
"""Decimal places of a probability on the page."""

BROKEN, LONGEST = "\ufffd", 4
"""What bytes decode to that are no whole character yet; the most bytes that one has."""


class Pieces:
    """The pieces of replies that a run's policies sampled.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._own = folder / "cold_start"
        self._tokenizers: dict[Path, Any] = {}

    def of(self, policy: str, node: Node) -> list[tuple[str, float]]:
        """Text and probability of each token that a node sampled; empty where nobody knows.

        Tokens that spell one character together are one piece, with their joint probability.
        """
        text_of = self._of_model(policy)
        if text_of is None:
            return []
        pieces: list[tuple[str, float]] = []
        tokens: tuple[int, ...] = ()
        total = 0.0
        for place, (token, logprob) in enumerate(zip(node.token_ids, node.logprobs, strict=True)):
            tokens, total = (*tokens, token), total + logprob
            text = text_of(tokens)
            last = place + 1 == len(node.token_ids)
            if last or len(tokens) == LONGEST or not text.endswith(BROKEN):
                pieces.append((text, round(min(math.exp(total), 1.0), DIGITS)))
                tokens, total = (), 0.0
        return pieces

    def _of_model(self, policy: str) -> Any:
        scheme, _, rest = policy.partition(":")
        named = Path(split_adapter(rest)[0]).expanduser()
        folder = named if scheme in ("hf", "vllm") and rest else self._own
        if folder not in self._tokenizers:
            self._tokenizers[folder] = self._load(folder / "tokenizer.json")
        return self._tokenizers[folder]

    def _load(self, path: Path) -> Any:
        if self._library is None or not path.is_file():
            return None
        tokenizer = self._library.from_file(str(path))
        return cache(lambda tokens: tokenizer.decode(list(tokens), skip_special_tokens=False))

    @cached_property
    def _library(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError:  # it comes with the extra `train`
            return None
        return Tokenizer
