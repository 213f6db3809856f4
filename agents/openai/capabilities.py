"""The capabilities of an OpenAI-compatible server for a model, found by asking the server.

A server that is down, wants a key or does not serve the model is an error of one line for the user.
"""

import asyncio
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from PIL import Image

from medgym.errors import UserError, unknown
from medgym.messages import ImagePart, message
from medgym.permissions import user_key

from .address import server_root
from .bodies import Refused
from .chat_messages import VISION_TOKENS, ImageURIs, chat_messages
from .http import Endpoint, Unreachable
from .replies import WRONG_FORM

_PROBED = 1
"""The token that probes let a model sample. Every vocabulary has this id."""

_SHOWN = 10
"""Models that an error lists at most."""

_COMPARED, _NAME, _PATH = 1000, 120, 4096
"""Models whose names an error compares; characters of such a name, and of a model's folder."""


@dataclass(frozen=True)
class ServerCapabilities:
    """What a server can do.

    Attributes:
        vllm: it is a vLLM server, and so takes vLLM's own parameters.
        root: the folder or hub name of the base model, "" where the server does not report it.
        takes_ids: it takes token ids with images.
        returns_ids: it reports which tokens it read and sampled.
        exact_logprobs: its log-probabilities are of the distribution from which it samples.
        vision_words: the vision tokens that its tokenizer has, where it is asked by messages.
    """

    vllm: bool = False
    root: str = ""
    takes_ids: bool = False
    returns_ids: bool = False
    exact_logprobs: bool = False
    vision_words: tuple[str, ...] = ()


async def served_models(endpoint: Endpoint) -> dict[str, Mapping[str, object]] | None:
    """The models that a server lists, by name. None where it has no list.

    Raises:
        UserError: nothing answers at the URL, or something else; or the server wants a key.
    """
    try:
        answer = await endpoint.ask("GET", f"{endpoint.url}/models", retries=0)
    except Refused as error:
        if error.status in (401, 403):
            raise key_refused(endpoint, error) from error
        if error.status in (404, 405):
            return None
        raise UserError(
            f"{endpoint.url} answers {str(error)[:120]}; fix: check the URL and the server"
        ) from error
    except Unreachable as error:
        if error.answered:
            raise UserError(
                f"{endpoint.url} answers {str(error)[:120]} where its models should be listed; "
                "fix: check the URL (it ends in /v1) and the server's log"
            ) from error
        raise UserError(
            f"nothing answers at {endpoint.url} ({str(error)[:120]}); "
            "fix: start the server or check the URL"
        ) from error
    models: dict[str, Mapping[str, object]] = {}
    try:
        for model in answer["data"]:
            if not isinstance(model, dict) or not isinstance(model["id"], str):
                raise TypeError("a model that is none")
            models[model["id"]] = model
    except WRONG_FORM as error:
        raise UserError(
            f"{endpoint.url} is not an OpenAI-compatible server; "
            "fix: check the URL (it ends in /v1)"
        ) from error
    return models


def root_of(model: Mapping[str, object]) -> str:
    """The folder or hub name of a listed model, "" where the server gives none."""
    root = model.get("root")
    if isinstance(root, str) and len(root) < _PATH and root.isprintable():
        return root
    return ""


def _names(models: Mapping[str, object]) -> list[str]:
    """The names that an error may show."""
    names = (name for name in models if len(name) <= _NAME and name.isprintable())
    return list(islice(names, _COMPARED))


def key_refused(endpoint: Endpoint, error: Refused) -> UserError:
    """The error for a server that wants a key, or another one."""
    fix = "set MEDGYM_API_KEY or OPENAI_API_KEY"
    if user_key() and not endpoint.has_key:  # a recipe names the server
        fix = f"add --allow-host {urlsplit(endpoint.url).hostname}, if it may have your key"
    return UserError(f"{endpoint.url} refuses access ({str(error)[:120]}); fix: {fix}")


async def find_capabilities(endpoint: Endpoint, model: str) -> ServerCapabilities:
    """Ask a server what it can do for `model`.

    Raises:
        UserError: nothing answers, the server wants a key, or it does not serve that model.
    """
    models = await served_models(endpoint)
    if not models or all(each.get("owned_by") != "vllm" for each in models.values()):
        if model not in (models or {}):  # only vLLM's list is known to be complete
            await _try(endpoint, model)
        return ServerCapabilities()
    if model not in models:
        raise unknown(f"model at {endpoint.url}", model, _names(models))
    entry = models[model]
    parent = entry.get("parent")  # of an adapter, its base
    entry = models.get(parent, entry) if isinstance(parent, str) else entry
    try:
        tokens = await _probe_tokens(endpoint, model)
        probe = tokens if tokens is not None else await _probe_chat(endpoint, model)
    except Unreachable as error:
        raise silent(endpoint, model, error) from error
    read, logprob = probe
    return ServerCapabilities(
        vllm=True,
        root=root_of(entry),
        takes_ids=tokens is not None,
        returns_ids=read,
        exact_logprobs=abs(logprob) < 1e-3,
    )


async def _try(endpoint: Endpoint, model: str) -> None:
    """Ask the model for one token. Refusals for other reasons show again at the first reply."""
    body = {"model": model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    try:
        await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
    except Refused as error:
        if error.status in (401, 403):
            raise key_refused(endpoint, error) from error
        if error.status == 404:
            raise await not_served(endpoint, model, error) from error
    except Unreachable as error:
        raise silent(endpoint, model, error) from error


async def try_chat(endpoint: Endpoint, model: str, tool_role: str) -> None:
    """Send a vLLM server every kind of message that an episode has, and ask for one token.

    Raises:
        UserError: its chat template or its model does not take them.
    """
    seen = [ImagePart(0, Image.new("RGB", (64, 64)))]
    asked = (
        message("system", "?"), message("user", "?", seen), message("assistant", "?"),
        message("tool", "?", seen),
    )  # fmt: skip
    body = {
        "model": model,
        "messages": chat_messages(asked, ImageURIs(), tool_role),
        "max_tokens": 1,
    }
    try:
        await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
    except Refused as error:
        raise UserError(
            f"{model} at {endpoint.url} cannot play ({str(error)[:120]}); fix: serve a "
            "vision-language model with a chat template, and let it take several images"
        ) from error
    except Unreachable as error:
        raise silent(endpoint, model, error) from error


async def not_served(endpoint: Endpoint, model: str, error: Refused) -> UserError:
    """The error for a server that does not know the model. It lists the models that it has."""
    try:
        models = await served_models(endpoint) or {}
    except UserError:
        models = {}
    said = f"{endpoint.url} does not serve {model} ({str(error)[:120]}); "
    if not models or model in models:
        return UserError(f"{said}fix: check the URL (it ends in /v1) and the name after #")
    nearest = difflib.get_close_matches(model, _names(models), n=_SHOWN, cutoff=0)
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return UserError(f"{said}fix: write one of its models after #: {', '.join(nearest)}{more}")


def silent(endpoint: Endpoint, model: str, error: Unreachable) -> UserError:
    """The error for a server that gives no usable answer when a model is asked."""
    said = f"does not answer for {model} ({str(error)[:120]})"
    if error.answered:
        said = f"answers {str(error)[:120]} when {model} is asked"
    return UserError(f"{endpoint.url} {said}; fix: look at the server's log")


async def vision_words_of(endpoint: Endpoint, model: str) -> tuple[str, ...]:
    """The vision tokens that a vLLM server's tokenizer has.

    Raises:
        UserError: it gives no usable answer.
    """
    try:
        held = await asyncio.gather(*(_is_token(endpoint, model, word) for word in VISION_TOKENS))
    except Unreachable as error:
        raise silent(endpoint, model, error) from error
    return tuple(word for word, is_held in zip(VISION_TOKENS, held, strict=True) if is_held)


async def _is_token(endpoint: Endpoint, model: str, word: str) -> bool:
    body = {"model": model, "prompt": word, "add_special_tokens": False}
    try:
        reply = await endpoint.ask("POST", f"{server_root(endpoint.url)}/tokenize", body)
        return len(reply["tokens"]) == 1
    except (Refused, *WRONG_FORM):
        return False


async def _probe_tokens(endpoint: Endpoint, model: str) -> tuple[bool, float] | None:
    """Whether the server reports what it read, and the log-probability of the only token that it
    may sample: 0 where it is of the sampled distribution, far below where it is of raw scores.
    None where the server takes no token ids."""
    body = {
        "model": model,
        "token_ids": [_PROBED],
        "return_token_ids": True,
        "sampling_params": {"max_tokens": 1, "logprobs": 0, "allowed_token_ids": [_PROBED]},
    }
    try:
        reply = await endpoint.ask(
            "POST", f"{server_root(endpoint.url)}/inference/v1/generate", body
        )
        logprob = reply["choices"][0]["logprobs"]["content"][0]["logprob"]
        return reply["prompt_token_ids"] == [_PROBED], float(logprob)
    except (Refused, *WRONG_FORM):  # no such route, or an older protocol
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
    except (Refused, *WRONG_FORM):
        return False, float("-inf")
