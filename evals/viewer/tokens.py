"""Sampled tokens as text with their probabilities, where the policy's tokenizer can be found.

A trajectory holds token ids. Their text comes from the tokenizer in the policy's model folder: the
folder that the policy's spec names, or the run's own cold start, also where the run was moved.
Without either (a model at an endpoint) a reply is shown without probabilities.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.spec import split_adapter
from medgym.storage.layout import Place
from medgym.trajectory import Node

DIGITS = 3
"""Decimal places of a probability on the page."""


class Pieces:
    """The pieces of replies that a run's policies sampled.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._own = Place(folder).cold_start
        self._tokenizers: dict[Path, Any] = {}

    def of(self, policy: str, node: Node) -> list[tuple[str, float]]:
        """Text and probability of each sampled token of a node, rounded; see `logprobs`."""
        return [(text, _probability(total)) for text, total in self.logprobs(policy, node)]

    def logprobs(self, policy: str, node: Node) -> list[tuple[str, float]]:
        """Text and log-probability of each sampled token of a node; empty where there is no
        tokenizer.

        Tokens that spell one character together are one piece, with their joint log-probability.
        """
        tokenizer = self._of_model(policy)
        if tokenizer is None:
            return []
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=False)
        pieces: list[tuple[str, float]] = []
        waiting: list[int] = []
        total = 0.0
        for token, logprob in zip(node.token_ids, node.logprobs, strict=True):
            text = stream.step(tokenizer, token)
            waiting, total = [*waiting, token], total + logprob
            if text is not None:
                pieces.append((text, total))
                waiting, total = [], 0.0
        if waiting:  # the reply ends within a character
            text = tokenizer.decode(waiting, skip_special_tokens=False)
            pieces.append((text, total))
        return pieces

    def _of_model(self, policy: str) -> Any:
        scheme, _, rest = policy.partition(":")
        folder = self._own
        if scheme in ("hf", "vllm") and rest:
            try:
                folder = Path(split_adapter(rest)[0].partition("?")[0]).expanduser()
            except UserError:  # an old spec in which several @s could name the adapter
                return None
            if folder.name == self._own.name and not folder.is_dir():  # the run was moved
                folder = self._own
        if folder not in self._tokenizers:
            self._tokenizers[folder] = self._load(folder / "tokenizer.json")
        return self._tokenizers[folder]

    def _load(self, path: Path) -> Any:
        if self._library is None or not path.is_file():
            return None
        try:
            return self._library.from_file(str(path))
        except Exception:  # the library raises no narrower one; the text is shown without colours
            return None

    @cached_property
    def _library(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError:  # it comes with the extra `train`
            return None
        return Tokenizer


def _probability(logprob: float) -> float:
    return round(min(math.exp(logprob), 1.0), DIGITS)
