"""Any OpenAI-compatible server as a policy: `openai:URL#MODEL`, `openai:URL#MODEL@ADAPTER`.

There are two ways to ask a model, and `check` finds out which of them its server offers. Options
of a spec (`tools=native`, `extra`) ask for the second:

- *tokens*: a vLLM server with `--enable-scale-out` is sent token ids and images, and must have read
  exactly those. Its replies can train.
- *chat*: any server is sent messages and renders them itself. Where it reports the tokens that it
  read, they must continue those before: `drifts` counts the others, errors in training.
"""

import asyncio
import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from medgym.errors import UserError, missing_library
from medgym.failures import Failure
from medgym.messages import Message, Reply
from medgym.permissions import key_for, warn_in_clear
from medgym.policy import Policy, Sampling
from medgym.spec import with_adapter, without_credentials
from medgym.storage.adapters import CONFIG, name_of

from ..prompt_check import check_prompt
from ..rendering import Prompt, Renderer
from ..text_processor.processor import TextRenderer
from ..vllm_adapters import check_lora
from .address import read_address, server_root
from .chat_messages import ImageURIs, chat_messages
from .function_calls import called_reply, function_messages, functions
from .options import EndpointOptions, read_endpoint_options
from .readiness import renderer_of, why_not
from .replies import (
    FILTER_CODES,
    chat_reply,
    choice_of,
    exact_reply,
    filtered,
    reading,
    token_ids,
    usage_of,
)
from .token_requests import tokens_body

if TYPE_CHECKING:
    from .capabilities import ServerCapabilities


@dataclass(frozen=True)
class _ChatReply(Reply):
    """A reply of the chat way with all tokens of the conversation up to its end."""

    context: tuple[int, ...] = ()


class OpenAIPolicy(Policy):
    """A model behind an HTTP endpoint.

    Attributes:
        model: the server's name for the model, or for the adapter, that plays.
        kind: what its replies carry. Known after `check`; `sampled` once `require_training` passed.
        version: the adapter's name where one plays, else "".
        drifts: replies of the chat way whose prompt did not continue the tokens before it.
    """

    kind: Literal["sampled", "demonstration", "text"] = "text"
    takes_adapters: ClassVar[bool] = True  # type: ignore[misc]
    drifts: int

    def __init__(self, url: str, model: str, options: EndpointOptions | None = None) -> None:
        try:
            from .http import Endpoint
        except ImportError as error:
            raise missing_library(error) from error
        options = options or EndpointOptions()
        self.model = model
        self.version = ""
        self.drifts = 0
        self._options = options
        self._endpoint = Endpoint(
            url,
            key=key_for(url),
            concurrency=options.concurrency,
            timeout=options.timeout,
            retries=options.retries,
            secrets=options.secrets,
        )
        self._url = self._endpoint.url
        if self._endpoint.has_key:
            warn_in_clear(self._url)
        self.spec = f"openai:{self._url}#{model}"
        self._owns_endpoint = True
        self._images = ImageURIs()
        self._renderer: Renderer | None = None
        self._capabilities: ServerCapabilities | None = None
        self._adapter: Path | None = None
        self._why_not = ""
        self._strict = False
        self._limit_key = "max_tokens"
        self._checking = asyncio.Lock()

    def __getstate__(self) -> dict[str, object]:
        # Another process gets what was found out, and has no requests yet.
        return vars(self) | {"_checking": asyncio.Lock(), "_images": ImageURIs()}

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "OpenAIPolicy":
        """`URL[?option=value&...]#MODEL`.

        An adapter is the server's name for it, or, with a `/` in it, the folder from which a vLLM
        server loads it.

        Raises:
            UserError: no URL, no model, an unknown option, or an adapter's folder without one.
        """
        url, model, options = read_address(rest, adapter)
        policy = cls(url, model, read_endpoint_options(options))
        if adapter is not None:
            policy._adapter = _folder_of(adapter)
            policy.version = adapter if policy._adapter is None else name_of(policy._adapter)
            policy.model = policy.version
        return policy

    async def check(self) -> None:
        """Ask the server what it can do. The first `act` does it where nothing did before.

        Raises:
            UserError: nothing answers, the server wants a key, it does not serve the model or
                cannot show it a conversation, or the adapter does not fit.
        """
        await self._endpoint.run(self._check())

    def require_training(self) -> None:
        """Insist on exact tokens from now on: where the server renders, a drift is an error.

        Raises:
            UserError: this server can be used for evaluation, but not for training; says why.
        """
        if self._renderer is None or isinstance(self._renderer, TextRenderer):
            # Ask again: in training, transformers render, and a processor may come from the hub.
            self._capabilities = None
        self._endpoint.wait(self._check(training=True))
        if self._why_not:
            raise UserError(f"{self._url} can play, but not train: {self._why_not}")
        self._strict = True
        self.kind = "sampled"

    async def _check(self, *, training: bool = False) -> None:
        async with self._checking:
            if self._capabilities is not None:
                return
            from .adapter_loading import load_adapter
            from .capabilities import find_capabilities, try_chat, vision_words_of
            from .function_check import try_functions

            if self._adapter is not None:
                await load_adapter(self._endpoint, self.model, self._adapter)
            found = await find_capabilities(self._endpoint, self.model)
            reason = "a hub name is only used in training"
            source = self._options.processor or found.root
            native = self._options.tool_form == "native"
            asked = training or native or self._options.processor
            if found.vllm and (asked or Path(source).is_dir()):
                self._renderer, reason = await self._rendered_by(found, source, training)
                if self._renderer is None and self._options.processor:
                    raise UserError(f"no processor in {source} ({reason}); fix: check the path")
            if self._renderer is not None:
                self.vision_token_ids = self._renderer.vision_token_ids
            by_tokens = (
                found.takes_ids and self._renderer is not None and not self._options.by_messages
            )
            if native and not by_tokens:
                raise UserError(
                    f"{self._url} is asked by messages, and tool_form=native needs token ids "
                    f"({reason or 'the server takes none'}); fix: serve it by vLLM with "
                    "--enable-scale-out (docs/serving.md), or omit tool_form"
                )
            if found.vllm and not by_tokens:
                words = await vision_words_of(self._endpoint, self.model)
                found = replace(found, vision_words=words)
            if self._options.tools == "native" and not self.text_only:
                shows = self._tool_role(found) == "tool"
                await try_functions(self._endpoint, self.model, found, tools_show=shows)
            elif found.vllm and not by_tokens and not self.text_only:
                await try_chat(self._endpoint, self.model, self._tool_role(found))
            self._why_not = why_not(found, self._renderer, reason, self._options)
            # Replies of the tokens way are always exact, those of the chat way only where a drift
            # is an error.
            self.kind = "sampled" if by_tokens and not self._why_not else "text"
            self._capabilities = found

    async def _rendered_by(
        self, found: "ServerCapabilities", source: str, training: bool
    ) -> tuple[Renderer | None, str]:
        """The renderer of the model's processor, or why there is none."""
        from .agreement import text_renderer_of

        renderer = None
        if not training and Path(source).is_dir():
            renderer = await text_renderer_of(
                self._endpoint, self.model, source, self._options, takes_ids=found.takes_ids
            )
        return (renderer, "") if renderer is not None else renderer_of(source, self._options)

    @classmethod
    def check_lora(cls, rest: str, lora: Mapping[str, Any], parts: Collection[str]) -> None:
        """See `Policy`; only a vLLM server trains, and its greatest rank is not known."""
        check_lora(f"openai:{without_credentials(rest)}", lora, parts)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Ask the server for the next reply.

        Raises:
            UserError: the server was never there, wants a key, or does not know the model.
            DriftError: it read other tokens than those of the prompt.
            Failure: anything else that goes wrong, after all retries; or the server withheld the
                reply.
        """
        return await self._endpoint.run(self._act(tuple(conversation), sampling))

    async def _act(self, conversation: tuple[Message, ...], sampling: Sampling) -> Reply:
        await self._check()
        await self._images.prepare(conversation)
        server = self._capabilities
        assert server is not None, "it was checked"
        if self._renderer is not None and server.takes_ids and not self._options.by_messages:
            return await self._by_tokens(self._renderer, conversation, sampling)
        return await self._by_chat(server, conversation, sampling)

    async def _by_tokens(
        self, renderer: Renderer, conversation: tuple[Message, ...], sampling: Sampling
    ) -> Reply:
        prompt = renderer.prompt(conversation)
        if prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        images = [self._images.uri(part) for message in conversation for part in message.images]
        drawn = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
        }
        body = tokens_body(self.model, renderer, prompt, images, drawn)
        url = f"{server_root(self._url)}/inference/v1/generate"
        answer = await self._ask(url, body, sampling)
        with reading(self._url):
            choice = choice_of(answer, self._url)
            check_prompt(answer["prompt_token_ids"], prompt, self._url)
            return exact_reply(renderer, prompt, choice, self._url, sampling.max_tokens)

    async def _by_chat(
        self, server: "ServerCapabilities", conversation: tuple[Message, ...], sampling: Sampling
    ) -> Reply:
        renderer, vllm = self._renderer, server.vllm
        prompt = renderer.prompt(conversation) if self._strict and renderer is not None else None
        if prompt is not None and prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        body: dict[str, object] = {
            "model": self.model,
            **self._said(server, conversation),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_key: sampling.max_tokens,
            "seed": sampling.seed if vllm else sampling.seed % 2**31,  # others take no larger seed
        }
        if vllm:
            # A checkpoint's own settings would change the distribution unseen.
            body |= {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
            body |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
            held = self._options.tools == "text"  # else the server writes what it likes of a reply
            body |= {"return_token_ids": held, "logprobs": self._strict}
            body["bad_words"] = list(server.vision_words)
            if renderer is not None:
                body |= {"bad_words": renderer.vision_words}
                body |= {"stop_token_ids": sorted(renderer.stop_token_ids)}
        body |= self._options.fields
        answer = await self._ask(f"{self._url}/chat/completions", body, sampling)
        with reading(self._url):
            return self._read_chat(answer, conversation, prompt, sampling)

    def _said(
        self, server: "ServerCapabilities", conversation: tuple[Message, ...]
    ) -> dict[str, object]:
        """What a request says of the conversation, and of the tools where the server is told."""
        role = self._tool_role(server)
        if self._options.tools != "native":
            return {"messages": chat_messages(conversation, self._images, role)}
        said: dict[str, object] = {
            "messages": function_messages(conversation, self._images, tools_show=role == "tool")
        }
        offered = functions(conversation)
        return said | {"tools": offered} if offered else said

    def _read_chat(
        self,
        answer: Any,
        conversation: tuple[Message, ...],
        prompt: Prompt | None,
        sampling: Sampling,
    ) -> Reply:
        renderer, url = self._renderer, self._url
        choice = choice_of(answer, url)
        read = answer.get("prompt_token_ids")
        if prompt is not None and renderer is not None:
            check_prompt(read, prompt, url)
            return exact_reply(renderer, prompt, choice, url, sampling.max_tokens)
        opening, usage = renderer.opening if renderer is not None else "", usage_of(answer)
        if self._options.tools == "native":
            return called_reply(choice, url, opening, usage)
        text, cut = chat_reply(choice, url, opening)
        context: tuple[int, ...] = ()
        if read is not None:
            held = token_ids(read, "the tokens that were read")
            before = next((m.reply for m in reversed(conversation) if m.reply is not None), None)
            if isinstance(before, _ChatReply):
                self.drifts += held[: len(before.context)] != before.context
            if held and choice.get("token_ids"):
                context = (*held, *token_ids(choice["token_ids"], "the sampled tokens"))
        return _ChatReply(text, cut=cut, usage=usage, context=context)

    def _tool_role(self, server: "ServerCapabilities") -> str:
        if self._renderer is not None:
            return self._renderer.tool_role
        return "tool" if server.vllm else "user"

    async def _ask(self, url: str, body: dict[str, object], sampling: Sampling) -> Any:
        from .bodies import Refused
        from .capabilities import key_refused, not_served
        from .http import Unreachable

        try:
            return await self._endpoint.ask(
                "POST", url, body, seed=sampling.seed, tokens=sampling.max_tokens
            )
        except Refused as error:
            if error.status in (401, 403):
                raise key_refused(self._endpoint, error) from error
            if error.status == 404:
                raise await not_served(self._endpoint, self.model, error) from error
            if "max_completion_tokens" in str(error) and self._limit_key in body:
                limit = body.pop(self._limit_key)  # some models only know this name
                self._limit_key = "max_completion_tokens"
                return await self._ask(url, body | {self._limit_key: limit}, sampling)
            if error.code in FILTER_CODES:
                raise filtered(self._url, str(error)) from error
            raise Failure("policy", f"{self._url} answers {error}"[:200]) from error
        except Unreachable as error:
            raise Failure("policy", error.at(self._url)[:200]) from error

    def with_adapter(self, name: str, path: Path) -> "OpenAIPolicy":
        """The policy that plays by an adapter, which a vLLM server loads while it runs.

        Raises:
            UserError: the adapter does not fit, the server cannot load it, or serves another under
                that name.
        """
        from .adapter_loading import load_adapter

        self._endpoint.wait(self._check())
        self._endpoint.wait(load_adapter(self._endpoint, name, path.resolve()))
        policy = copy.copy(self)
        policy._images = self._images
        policy.spec = with_adapter(self.spec, name)
        policy.model = policy.version = name
        policy._owns_endpoint = False
        return policy

    def drop_adapter(self, name: str) -> None:
        """Have the server unload an adapter. Unknown names are ignored."""
        from .adapter_loading import unload_adapter

        self._endpoint.wait(unload_adapter(self._endpoint, name))

    def at_most(self, requests: int) -> int:
        """See `Policy`. Half as many more episodes are opened meanwhile: a server often replies to
        all requests at once, and would have nothing to do until the next ones are written."""
        self._endpoint.at_most(requests)
        return requests + requests // 2

    def close(self) -> None:
        """Close all connections. Requests that wait for a reply are interrupted."""
        if self._owns_endpoint:
            self._endpoint.close()
            self._checking = asyncio.Lock()


def _folder_of(adapter: str) -> Path | None:
    """The folder that an adapter's text names, None where it is the server's name for it.

    A name has no `/`, or one at most, as `org/adapter`.
    """
    folder = Path(adapter).expanduser()
    is_path = adapter.startswith((".", "/", "~")) or adapter.count("/") > 1
    if "/" in adapter and (is_path or (folder / CONFIG).is_file()):
        return folder.resolve()
    return None
