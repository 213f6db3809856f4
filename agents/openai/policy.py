"""Any OpenAI-compatible server as a policy: `openai:URL#MODEL`, `openai:URL#MODEL@ADAPTER`.

Two ways lead to a model, and `check` finds out which one its server offers:

- *tokens*: a vLLM server with `--enable-scale-out` is given the token ids that are held and the
  images, and has to have read exactly those: fit for training;
- *chat*: any server is given the messages and renders them itself. Where it says which tokens it
  read, they are held against those that it read and sampled before: a difference is counted in
  `drifts`, and in training it is an error.
"""

import asyncio
import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from medgym.errors import UserError, missing_extra
from medgym.failures import Failure, reason_of
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, with_adapter
from medgym.spec import read_options
from medgym.storage.adapters import CONFIG, check_fit, name_of

from ..prompt_check import DriftError, check_prompt, one_placeholder_each, text_of, vision_words
from ..rendering import Prompt, Renderer
from .chat_messages import Pictures, chat_messages, spoken


@dataclass(frozen=True)
class Options:
    """What may stand behind the `?` of the URL.

    Attributes:
        concurrency: requests in flight at once.
        timeout: seconds for one request.
        retries: repetitions of a request that failed.
        processor: folder or hub name of the model's processor, where it is not the folder that the
            server itself names.
    """

    concurrency: int = 64
    timeout: float = 120.0
    retries: int = 4
    processor: str = ""


@dataclass(frozen=True)
class _Heard(Reply):
    """A reply of the chat way with all tokens that the server held after it."""

    held: tuple[int, ...] = ()


class OpenAIPolicy(Policy):
    """A model behind an HTTP endpoint.

    Attributes:
        model: what the server calls the model, or the adapter, that plays.
        kind: what its replies carry; known after `check`, and `sampled` wherever `require_training`
            has passed.
        version: the adapter's name where one plays, else "".
        drifts: replies of the chat way whose prompt did not continue the tokens before it.
    """

    kind: Literal["sampled", "demonstration", "text"] = "text"
    takes_adapters: ClassVar[bool] = True  # type: ignore[misc]
    drifts: int

    def __init__(self, url: str, model: str, options: Options | None = None) -> None:
        try:
            from .http import Endpoint
        except ImportError as error:
            raise missing_extra("openai", error) from error
        options = options or Options()
        self.model = model
        self.version = ""
        self.drifts = 0
        self._options = options
        self._endpoint = Endpoint(
            url,
            key=os.environ.get("MEDGYM_API_KEY") or os.environ.get("OPENAI_API_KEY"),
            concurrency=options.concurrency,
            timeout=options.timeout,
            retries=options.retries,
        )
        self._url = self._endpoint.url
        self.spec = f"openai:{self._url}#{model}"
        self._owns_endpoint = True
        self._pictures = Pictures()
        self._renderer: Renderer | None = None
        self._offer: Any = None
        self._adapter: Path | None = None
        self._why_not = ""
        self._strict = False
        self._limit = "max_tokens"
        self._checking = asyncio.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # What travels to another process is what was found out; who waits here stays.
        return vars(self) | {"_checking": asyncio.Lock(), "_pictures": Pictures()}

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "OpenAIPolicy":
        """`URL[?option=value&...]#MODEL`; an adapter is the name that a server gives it, or a
        folder that a vLLM server is to load."""
        parts = urlsplit(rest)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"openai:{rest} names no server; fix: write openai:http://HOST:PORT/v1#MODEL"
            )
        if not parts.fragment:
            raise UserError(f"openai:{rest} names no model; fix: add #MODEL")
        url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        policy = cls(url, unquote(parts.fragment), _options(parts.query))
        if adapter is not None:
            if (Path(adapter).expanduser() / CONFIG).is_file():
                policy._adapter = Path(adapter).expanduser().resolve()
                policy.model = policy.version = name_of(policy._adapter)
            else:
                policy.model = policy.version = adapter
        return policy

    async def check(self) -> None:
        """Ask the server what it can do; done at the first `act` where it is not done before.

        Raises:
            UserError: nothing answers, it wants a key, it does not serve the model or cannot show
                it a conversation, or the adapter does not fit.
        """
        await self._endpoint.run(self._check())

    def require_training(self) -> None:
        """Insist on exact tokens from here on: where the server renders, a drift is an error.

        Raises:
            UserError: this server can be evaluated, but not trained with; says why.
        """
        if self._renderer is None:
            self._offer = None  # look again: in training, a processor may come from the hub
        self._endpoint.wait(self._check(training=True))
        if self._why_not:
            raise UserError(f"{self._url} can play, but not train: {self._why_not}")
        self._strict = True
        self.kind = "sampled"

    async def _check(self, *, training: bool = False) -> None:
        async with self._checking:
            if self._offer is not None:
                return
            from .capabilities import find_offer, try_chat

            if self._adapter is not None:
                await self._load(self.model, self._adapter)
            offer = await find_offer(self._endpoint, self.model)
            reason = "a hub name is followed in training alone"
            source = self._options.processor or offer.root
            if offer.vllm and (training or self._options.processor or Path(source).is_dir()):
                self._renderer, reason = _renderer(source)
                if self._renderer is None and self._options.processor:
                    raise UserError(f"no processor in {source} ({reason}); fix: check the path")
            if self._renderer is not None:
                self.vision_token_ids = self._renderer.vision_token_ids
            by_tokens = offer.takes_ids and self._renderer is not None
            if offer.vllm and not by_tokens:
                await try_chat(self._endpoint, self.model, self._tool_role(offer))
            self._why_not = _why_not(offer, self._renderer, reason)
            # Replies of the tokens way are exact as they come; those of the chat way only where
            # a drift is an error.
            self.kind = "sampled" if by_tokens and not self._why_not else "text"
            self._offer = offer

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Ask the server for the next reply.

        Raises:
            UserError: the server was never there, wants a key, or does not know the model.
            DriftError: it read other tokens than those that are held.
            Failure: whatever else goes wrong, after all repetitions.
        """
        return await self._endpoint.run(self._act(tuple(conversation), sampling))

    async def _act(self, conversation: tuple[Message, ...], sampling: Sampling) -> Reply:
        await self._check()
        try:
            if self._renderer is not None and self._offer.takes_ids:
                return await self._by_tokens(self._renderer, conversation, sampling)
            return await self._by_chat(conversation, sampling)
        except (KeyError, IndexError, TypeError) as error:
            raise Failure("policy", f"{self._url}: unexpected reply, {reason_of(error)}") from error

    async def _by_tokens(
        self, renderer: Renderer, conversation: tuple[Message, ...], sampling: Sampling
    ) -> Reply:
        prompt = renderer.prompt(conversation)
        if prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        images = [part for message in conversation for part in message.images]
        body = {
            "model": self.model,
            "token_ids": one_placeholder_each(prompt, renderer.image_token_id),
            "content_parts": [
                {"type": "image_url", "url": self._pictures.uri(part)} for part in images
            ],
            "return_token_ids": True,
            "sampling_params": {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens,
                "seed": sampling.seed,
                "logprobs": 0,
                "bad_words": vision_words(renderer),
                "stop_token_ids": [renderer.eos_token_id],
            },
        }
        from .capabilities import above_v1

        url = f"{above_v1(self._url)}/inference/v1/generate"
        reply = await self._ask(url, body, sampling.seed)
        check_prompt(reply["prompt_token_ids"], prompt, self._url)
        choice = reply["choices"][0]
        return self._exact(renderer, prompt, choice, choice["token_ids"])

    async def _by_chat(self, conversation: tuple[Message, ...], sampling: Sampling) -> Reply:
        renderer, vllm = self._renderer, self._offer.vllm
        prompt = renderer.prompt(conversation) if self._strict and renderer is not None else None
        if prompt is not None and prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": chat_messages(conversation, self._pictures, self._tool_role(self._offer)),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit: sampling.max_tokens,
            "seed": sampling.seed if vllm else sampling.seed % 2**31,  # as others' seeds go
        }
        if vllm:
            # A checkpoint's own settings would change the distribution behind our back.
            body |= {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
            body |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
            body |= {"return_token_ids": True, "logprobs": self._strict}
            body["bad_words"] = list(self._offer.vision_words)
            if renderer is not None:
                body |= {"bad_words": vision_words(renderer)}
                body |= {"stop_token_ids": [renderer.eos_token_id]}
        reply = await self._ask(f"{self._url}/chat/completions", body, sampling.seed)
        choice = reply["choices"][0]
        read, sampled = reply.get("prompt_token_ids"), choice.get("token_ids")
        if prompt is not None and renderer is not None:
            check_prompt(read, prompt, self._url)
            return self._exact(renderer, prompt, choice, sampled)
        before = next((m.reply for m in reversed(conversation) if m.reply is not None), None)
        if isinstance(before, _Heard) and read is not None:
            self.drifts += tuple(read[: len(before.held)]) != before.held
        held = (*read, *sampled) if read and sampled else ()
        text = spoken(choice["message"])
        return _Heard(text, cut=choice.get("finish_reason") == "length", held=held)

    def _tool_role(self, offer: Any) -> str:
        if self._renderer is not None:
            return self._renderer.tool_role
        return "tool" if offer.vllm else "user"

    def _exact(
        self, renderer: Renderer, prompt: Prompt, choice: Mapping[str, Any], sampled: Sequence[int]
    ) -> Reply:
        if choice["finish_reason"] not in ("stop", "length"):
            raise Failure("policy", f"{self._url} broke off: {choice['finish_reason']}")
        logprobs = tuple(float(each["logprob"]) for each in choice["logprobs"]["content"])
        if len(logprobs) != len(sampled):
            raise DriftError(
                f"{self._url} gives {len(logprobs)} log-probabilities for {len(sampled)} tokens"
            )
        ids = tuple(sampled)
        return Reply(
            text=text_of(renderer, ids, stopped=choice["finish_reason"] == "stop"),
            prompt_ids=prompt.ids,
            token_ids=ids,
            logprobs=tuple(min(value, 0.0) for value in logprobs),
            image_tokens=prompt.image_tokens,
            cut=choice["finish_reason"] == "length",
        )

    async def _ask(self, url: str, body: dict[str, Any], seed: int) -> Any:
        from .capabilities import no_key, not_served
        from .http import Refused, Unreachable

        try:
            return await self._endpoint.ask("POST", url, body, seed=seed)
        except Refused as error:
            if error.status in (401, 403):
                raise no_key(self._endpoint, error) from error
            if error.status == 404:
                raise not_served(self._endpoint, self.model, error) from error
            if "max_completion_tokens" in str(error) and self._limit in body:
                limit = body.pop(self._limit)  # some models know it by this name alone
                self._limit = "max_completion_tokens"
                return await self._ask(url, body | {self._limit: limit}, seed)
            raise Failure("policy", f"{self._url} answers {error}"[:200]) from error
        except Unreachable as error:
            raise Failure("policy", f"{self._url}: {error}"[:200]) from error

    def with_adapter(self, name: str, path: Path) -> "OpenAIPolicy":
        """The policy that plays by an adapter, which a vLLM server loads while it runs.

        Raises:
            UserError: the adapter does not fit, the server cannot load it, or calls another so.
        """
        self._endpoint.wait(self._check())
        self._endpoint.wait(self._load(name, path.resolve()))
        policy = copy.copy(self)
        policy._pictures = self._pictures
        policy.spec = with_adapter(self.spec, name)
        policy.model = policy.version = name
        policy._owns_endpoint = False
        return policy

    def drop_adapter(self, name: str) -> None:
        """Have the server forget an adapter; one that it does not know is none."""
        from .http import Refused, Unreachable

        url, body = f"{self._url}/unload_lora_adapter", {"lora_name": name}
        try:
            self._endpoint.wait(self._endpoint.ask("POST", url, body, want_json=False))
        except Refused as error:
            if error.status != 404:
                raise Failure("policy", f"{self._url} keeps {name}: {error}"[:200]) from error
        except Unreachable as error:
            raise Failure("policy", f"{self._url}: {error}"[:200]) from error

    async def _load(self, name: str, path: Path) -> None:
        from .capabilities import served
        from .http import Refused, Unreachable

        models = await served(self._endpoint) or {}
        if name not in models:
            roots = [Path(str(m["root"])) for m in models.values() if not m.get("parent")]
            for root in roots:
                if root.is_dir():
                    check_fit(path, root)
            url = f"{self._url}/load_lora_adapter"
            body = {"lora_name": name, "lora_path": str(path)}
            refusal: Exception | None = None
            try:
                await self._endpoint.ask("POST", url, body, retries=0, want_json=False)
            except (Refused, Unreachable) as error:
                refusal = error
            models = await served(self._endpoint) or {}  # another process may have been faster
            if name not in models:
                raise UserError(
                    f"{self._url} does not load the adapter {path} ({str(refusal)[:120]}); fix: "
                    "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
                ) from refusal
        if Path(str(models[name].get("root"))) != path:
            raise UserError(
                f"{self._url} calls another adapter {name} ({models[name].get('root')}); "
                "fix: publish under a new step"
            )

    def close(self) -> None:
        """Close all connections; what still waits for a reply is broken off."""
        if self._owns_endpoint:
            self._endpoint.close()
            self._checking = asyncio.Lock()


def _options(query: str) -> Options:
    kinds = {"concurrency": int, "timeout": float, "retries": int, "processor": str}
    options = Options(**read_options("openai", query, kinds))
    if options.concurrency < 1 or not options.timeout > 0 or options.retries < 0:
        raise UserError(
            "openai: concurrency starts at 1, timeout above 0, retries at 0; fix: the URL's query"
        )
    return options


def _renderer(source: str) -> tuple[Renderer | None, str]:
    """The renderer of a model's own processor, or why there is none."""
    try:
        from transformers import AutoProcessor

        return Renderer(AutoProcessor.from_pretrained(source)), ""
    except Exception as error:  # not installed, not found, without a template, of another kind
        return None, reason_of(error)


def _why_not(offer: Any, renderer: Renderer | None, reason: str) -> str:
    if not offer.vllm or not (offer.takes_ids or offer.returns_ids):
        return "it returns no token ids; fix: serve the model with vLLM (docs/serving.md)"
    if renderer is None:
        return f"no processor to render with ({reason}); fix: add ?processor=FOLDER to the URL"
    if not offer.exact_logprobs:
        return (
            "its log-probabilities are not those of the draw; "
            "fix: start vLLM with --logprobs-mode processed_logprobs"
        )
    return ""
