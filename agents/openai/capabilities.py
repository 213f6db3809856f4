"""What an OpenAI-compatible server can do for a model, found by asking it.

A server that is down, wants a key or does not serve the model is the user's to fix: one line.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from medgym.errors import UserError, unknown
from medgym.messages import ImagePart, message

from .chat_messages import VISION_TOKENS, Pictures, chat_messages
from .http import Endpoint, Refused, Unreachable

_PROBED = 1
"""The token that probes have to sample; any id that every vocabulary has."""


@dataclass(frozen=True)
class Offer:
    """What a server can do.

    Attributes:
        vllm: it is a vLLM server, and so takes vLLM's own parameters.
        root: the folder or hub name of the base model, "" where the server does not say.
        takes_ids: it takes token ids with images.
        returns_ids: it says which tokens it read and sampled.
        exact_logprobs: its log-probabilities are those of the distribution that is drawn from.
        vision_words: the vision tokens that its tokenizer has.
    """

    vllm: bool = False
    root: str = ""
    takes_ids: bool = False
    returns_ids: bool = False
    exact_logprobs: bool = False
    vision_words: tuple[str, ...] = ()


async def served(endpoint: Endpoint) -> dict[str, dict[str, Any]] | None:
    """The models that a server lists, by name; None where it keeps no list.

    Raises:
        UserError: nothing answers there, or it wants a key.
    """
    try:
        reply = await endpoint.ask("GET", f"{endpoint.url}/models", retries=0)
        return {str(model["id"]): model for model in reply["data"]}
    except Refused as error:
        if error.status in (401, 403):
            raise no_key(endpoint, error) from error
        if error.status in (404, 405):
            return None
        raise UserError(
            f"{endpoint.url} answers {str(error)[:120]}; fix: check the URL and the server"
        ) from error
    except Unreachable as error:
        raise UserError(
            f"nothing answers at {endpoint.url} ({str(error)[:120]}); "
            "fix: start the server or check the URL"
        ) from error
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{endpoint.url} is no OpenAI-compatible server; fix: check the URL (it ends in /v1)"
        ) from error


def no_key(endpoint: Endpoint, error: Refused) -> UserError:
    """The error for a server that does not let us in."""
    return UserError(
        f"{endpoint.url} refuses us ({str(error)[:120]}); fix: set MEDGYM_API_KEY or OPENAI_API_KEY"
    )


async def find_offer(endpoint: Endpoint, model: str) -> Offer:
    """Ask a server what it can do for `model`.

    Raises:
        UserError: nothing answers, it wants a key, or it does not serve that model.
    """
    models = await served(endpoint)
    if not models or all(each.get("owned_by") != "vllm" for each in models.values()):
        if model not in (models or {}):  # only vLLM's list is known to be complete
            await _try(endpoint, model)
        return Offer()
    if model not in models:
        raise unknown(f"model at {endpoint.url}", model, models)
    entry = models[model]
    entry = models.get(entry.get("parent") or "", entry)  # an adapter's base
    try:
        words = [word for word in VISION_TOKENS if await _is_token(endpoint, model, word)]
        tokens = await _probe_tokens(endpoint, model)
        probe = tokens if tokens is not None else await _probe_chat(endpoint, model)
    except Unreachable as error:
        raise _silent(endpoint, model, error) from error
    read, logprob = probe
    return Offer(
        vllm=True,
        root=str(entry.get("root") or ""),
        takes_ids=tokens is not None,
        returns_ids=read,
        exact_logprobs=abs(logprob) < 1e-3,
        vision_words=tuple(words),
    )


async def _try(endpoint: Endpoint, model: str) -> None:
    """Have the model say one token. Refusals for other reasons are for the first reply to tell."""
    body = {"model": model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    try:
        await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
    except Refused as error:
        if error.status in (401, 403):
            raise no_key(endpoint, error) from error
        if error.status == 404:
            raise not_served(endpoint, model, error) from error
    except Unreachable as error:
        raise _silent(endpoint, model, error) from error


async def try_chat(endpoint: Endpoint, model: str, tool_role: str) -> None:
    """Have a vLLM server read all that an episode sends it as messages, and say one token.

    Raises:
        UserError: its chat template, or its model, does not take that.
    """
    seen = [ImagePart(0, Image.new("RGB", (64, 64)))]
    said = (
        message("system", "?"), message("user", "?", seen), message("assistant", "?"),
        message("tool", "?", seen),
    )  # fmt: skip
    body = {"model": model, "messages": chat_messages(said, Pictures(), tool_role), "max_tokens": 1}
    try:
        await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
    except Refused as error:
        raise UserError(
            f"{model} at {endpoint.url} cannot play ({str(error)[:120]}); fix: serve a "
            "vision-language model with a chat template, and let it take several images"
        ) from error
    except Unreachable as error:
        raise _silent(endpoint, model, error) from error


def not_served(endpoint: Endpoint, model: str, error: Refused) -> UserError:
    """The error for a server that does not know the model."""
    return UserError(
        f"{endpoint.url} does not serve {model} ({str(error)[:120]}); "
        "fix: check the URL (it ends in /v1) and the name after #"
    )


def _silent(endpoint: Endpoint, model: str, error: Unreachable) -> UserError:
    return UserError(
        f"{endpoint.url} does not answer for {model} ({str(error)[:120]}); "
        "fix: look at the server's log"
    )


async def _is_token(endpoint: Endpoint, model: str, word: str) -> bool:
    body = {"model": model, "prompt": word, "add_special_tokens": False}
    try:
        reply = await endpoint.ask("POST", f"{above_v1(endpoint.url)}/tokenize", body)
        return len(reply["tokens"]) == 1
    except (Refused, KeyError, TypeError):
        return False


async def _probe_tokens(endpoint: Endpoint, model: str) -> tuple[bool, float] | None:
    """Whether it says what it read, and the log-probability of the one token that it may sample:
    0 where that is of the draw, far below where it is of the model's raw scores."""
    body = {
        "model": model,
        "token_ids": [_PROBED],
        "return_token_ids": True,
        "sampling_params": {"max_tokens": 1, "logprobs": 0, "allowed_token_ids": [_PROBED]},
    }
    try:
        reply = await endpoint.ask("POST", f"{above_v1(endpoint.url)}/inference/v1/generate", body)
        logprob = reply["choices"][0]["logprobs"]["content"][0]["logprob"]
        return reply["prompt_token_ids"] == [_PROBED], float(logprob)
    except (Refused, KeyError, TypeError, IndexError):  # not offered, or an older protocol
        return None


async def _probe_chat(endpoint: Endpoint, model: str) -> tuple[bool, float]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "?"}],
        "max_tokens": 1,
        "logprobs": True,
        "return_token_ids": True,
        "allowed_token_ids": [_PROBED],
    }
    try:
        reply = await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
        choice = reply["choices"][0]
        logprob = choice["logprobs"]["content"][0]["logprob"]
        return bool(reply["prompt_token_ids"] and choice["token_ids"]), float(logprob)
    except (Refused, KeyError, TypeError, IndexError):
        return False, float("-inf")


def above_v1(url: str) -> str:
    """Where vLLM's own routes are: beside `/v1`, not below it."""
    return url.removesuffix("/v1")
