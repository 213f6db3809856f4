"""vLLM's asynchronous engine as a policy, in this process: `vllm:PATH`, `vllm:PATH@ADAPTER`.

Prompts are token ids with one placeholder for each image. The engine expands the placeholders and
must have read exactly the prompt of the renderer. Log-probabilities are of the distribution from
which it samples, and vision tokens cannot be sampled. Settings of vLLM are options of the spec:
`vllm:PATH?max_model_len=4096&max_loras=4`.

Where a launcher started several processes, each has an engine of its own, on its own device. An
engine that takes adapters can lend out its memory (vLLM's sleep mode), so that a model in training
has it while it learns.
"""

import copy
import itertools
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from medgym.errors import UserError, missing_library
from medgym.failures import Failure, reason_of
from medgym.messages import Message, Reply
from medgym.models import find_model, load_processor, stop_tokens
from medgym.policy import Policy, Sampling
from medgym.spec import flag, read_options, with_adapter
from medgym.storage.adapters import check_fit, checked, name_of
from medgym.tool_form import ToolFormName, take_tool_form

from .event_loop import BackgroundLoop
from .prompt_check import check_prompt, one_placeholder_each, text_of
from .rendering import Renderer
from .vllm_adapters import check_lora

Setting = str | int | float | bool
"""The value of one of vLLM's settings."""

_SETTINGS: dict[str, Callable[[str], Setting]] = {
    "dtype": str,
    "enable_sleep_mode": flag,
    "gpu_memory_utilization": float,
    "max_lora_rank": int,
    "max_loras": int,
    "max_model_len": int,
    "max_num_seqs": int,
    "tensor_parallel_size": int,
}
"""The settings of vLLM that a spec may give, under vLLM's own names."""

IMAGES = 16
"""Images in one conversation, at most."""

MAX_LORAS, MAX_LORA_RANK = 6, 32
"""Adapters loaded at once (two versions for each of two roles, and two more), and their rank."""

_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK")
_PREFIXES = ("MASTER_", "TORCHELASTIC_")
"""The variables by which a launcher tells its processes of each other."""

PATIENCE = 30.0
"""Seconds in which the engine's processes have to end."""


class _Adapter(Protocol):
    """vLLM's `LoRARequest`: an adapter that an engine has loaded."""

    lora_int_id: int
    lora_path: str


class VLLMPolicy(Policy):
    """A model in a vLLM engine of this process.

    Args:
        path: the model's folder or hub name.
        lora: whether adapters can be loaded. This makes the base slower, too.
        tool_form: how it is offered tools and calls them.
        settings: settings of vLLM, such as `max_model_len`.

    Attributes:
        version: the adapter's name where one plays, else "".
    """

    kind: ClassVar[Literal["sampled"]] = "sampled"  # type: ignore[misc]
    local_model: ClassVar[bool] = True  # type: ignore[misc]
    takes_adapters: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(
        self,
        path: str,
        *,
        lora: bool = False,
        tool_form: ToolFormName = "text",
        **settings: Setting,
    ) -> None:
        try:
            from vllm import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise missing_library(error) from error
        asked: dict[str, object] = {
            "model": path,
            "limit_mm_per_prompt": {"image": IMAGES, "video": 0},
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",  # not the settings of the checkpoint
            "enable_lora": lora,
            "trust_remote_code": False,
        }
        on_cpu = current_platform.is_cpu()
        if on_cpu:
            # There, vLLM 0.32 crashes on a request with a seed whose prompt it reads in chunks.
            asked |= {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
        self._max_loras = int(settings.pop("max_loras", MAX_LORAS))
        if lora:
            # On a CPU, vLLM 0.32 answers requests for the base by the adapter in the last place if
            # they share a batch with an adapter's (vllm-project/vllm#48421): it stays empty.
            asked |= {"max_loras": self._max_loras + on_cpu, "max_lora_rank": MAX_LORA_RANK}
            if current_platform.is_sleep_mode_available():
                asked["enable_sleep_mode"] = True
        if not on_cpu:
            asked |= _device_of_this_process(int(settings.get("tensor_parallel_size", 1)))
        self.renderer = Renderer(load_processor(path), stop_tokens(path), tool_form=tool_form)
        self.spec = f"vllm:{path}"
        self.version = ""
        self.vision_token_ids = self.renderer.vision_token_ids
        self._path = Path(path)
        self._bad_words = self.renderer.vision_words
        self._ids = itertools.count(1)
        self._adapter: _Adapter | None = None
        self._adapters: dict[str, _Adapter] = {}
        self._can_sleep = bool((asked | settings).get("enable_sleep_mode"))
        self._asleep = threading.Event()  # of the engine, which may have several policies
        self._owns_engine = True
        self._background = BackgroundLoop("medgym vllm")

        async def start() -> Any:  # on the loop to which the engine belongs
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**asked | settings))

        try:
            with _launcher_hidden():
                self._engine = self._background.wait(start())
        except Exception as error:
            self._background.close()
            raise _cannot_load(path, error) from error

    @classmethod
    def require_library(cls) -> None:
        """vLLM, which is looked for and not imported: that takes half a minute."""
        if find_spec("vllm") is None:
            raise missing_library(ModuleNotFoundError("No module named 'vllm'", name="vllm"))

    @classmethod
    def check_spec(cls, rest: str, adapter: str | None) -> None:
        """Read the settings, and find the model and its template's place for tools."""
        rest, form = take_tool_form("vllm", rest)
        path, _, query = rest.partition("?")
        read_options("vllm", query, _SETTINGS)
        find_model(path, adapter)
        if form == "native":
            Renderer(load_processor(path), tool_form=form)

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "VLLMPolicy":
        """`PATH[?setting=value&...]`; an adapter is a PEFT adapter's folder."""
        rest, form = take_tool_form("vllm", rest)
        path, _, query = rest.partition("?")
        settings = read_options("vllm", query, _SETTINGS)
        path = find_model(path, adapter).path
        folder = Path(adapter).expanduser() if adapter is not None else None
        name = name_of(folder) if folder is not None else ""  # an error before the engine starts
        if folder is not None and Path(path).is_dir():
            check_fit(folder, Path(path))
        lora = folder is not None or "max_loras" in settings
        policy = cls(path, lora=lora, tool_form=form, **settings)
        if folder is not None:
            policy._adapter = policy._load(name, folder)
            policy.version = name
        return policy

    @classmethod
    def check_lora(cls, rest: str, lora: Mapping[str, Any], parts: Collection[str]) -> None:
        """See `Policy`."""
        path, _, query = take_tool_form("vllm", rest)[0].partition("?")
        settings = read_options("vllm", query, _SETTINGS)
        if int(settings.get("max_loras", 0)) < 2:
            raise UserError(
                f"vllm:{path} has no place for two adapters, the one that plays and the next one; "
                "fix: ?max_loras=2"
            )
        check_lora(f"vllm:{path}", lora, parts, settings.get("max_lora_rank", MAX_LORA_RANK))

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply.

        Raises:
            DriftError: the engine read other tokens than those of the prompt.
            Failure: the engine failed, or the conversation is longer than it takes.
        """
        return await self._background.run(self._act(tuple(conversation), sampling))

    async def _act(self, conversation: tuple[Message, ...], sampling: Sampling) -> Reply:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt = self.renderer.prompt(conversation)
        if prompt.leaves_no_room(sampling):
            return Reply("", full=True)
        await self._wake()
        asked: dict[str, object] = {
            "prompt_token_ids": one_placeholder_each(prompt, self.renderer.image_token_id)
        }
        if prompt.images:
            asked["multi_modal_data"] = {"image": list(prompt.images)}
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            logprobs=0,
            bad_words=self._bad_words,
            stop_token_ids=sorted(self.renderer.stop_token_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        request = f"reply-{next(self._ids)}"
        result: Any = None
        try:
            replies = self._engine.generate(asked, params, request, lora_request=self._adapter)
            async for each in replies:  # one, for FINAL_ONLY
                result = each
        except Exception as error:
            raise Failure("policy", f"{self.spec}: {reason_of(error)}"[:200]) from error
        check_prompt(result.prompt_token_ids, prompt, self.spec)
        sampled = result.outputs[0]
        if sampled.finish_reason not in ("stop", "length"):
            raise Failure("policy", f"{self.spec} ended a reply by {sampled.finish_reason!r}")
        ids = tuple(sampled.token_ids)
        values = zip(ids, sampled.logprobs, strict=True)
        reply = Reply(
            text=text_of(self.renderer, ids, stopped=sampled.finish_reason == "stop"),
            prompt_ids=prompt.ids,
            token_ids=ids,
            logprobs=tuple(min(float(each[token].logprob), 0.0) for token, each in values),
            image_tokens=prompt.image_tokens,
            cut=sampled.finish_reason == "length",
        )
        return self.renderer.read(reply, prompt)

    def with_adapter(self, name: str, path: Path) -> "VLLMPolicy":
        """The policy of the same engine that plays by an adapter.

        Raises:
            UserError: the adapter does not fit, or the engine was started without adapters.
        """
        policy = copy.copy(self)
        policy._adapter = self._load(name, path)
        policy.version = name
        policy.spec = with_adapter(self.spec, str(path))
        policy._owns_engine = False
        return policy

    def _load(self, name: str, path: Path) -> _Adapter:
        from vllm.lora.request import LoRARequest

        path = path.resolve()
        self.resume()  # a sleeping engine has no memory into which it could load one
        loaded = self._adapters.get(name)
        if loaded is not None:
            if loaded.lora_path != str(path):
                raise UserError(f"{name} is another adapter; fix: publish under a new step")
            return loaded
        if len(self._adapters) >= self._max_loras:
            raise UserError(
                f"{self.spec} has {self._max_loras} adapters loaded; fix: drop one, or start with "
                "?max_loras=N"
            )
        checked(path)
        if self._path.is_dir():
            check_fit(path, self._path)
        request: _Adapter = LoRARequest(name, next(self._ids), str(path))
        try:
            self._background.wait(self._engine.add_lora(request))
        except Exception as error:
            raise UserError(
                f"{self.spec} does not load the adapter {path} ({reason_of(error)[:120]}); "
                "fix: name the base's own adapter, and start with ?max_loras=4"
            ) from error
        self._adapters[name] = request
        return request

    def drop_adapter(self, name: str) -> None:
        """Have the engine unload an adapter. Unknown names are ignored."""
        request = self._adapters.pop(name, None)
        if request is not None:
            self.resume()
            self._background.wait(self._engine.remove_lora(request.lora_int_id))

    def pause(self) -> None:
        """Have the engine sleep: weights and adapters wait in the machine's memory, caches are
        dropped. A vLLM that has no sleep mode, as on a CPU, stays awake."""
        if self._can_sleep and not self._asleep.is_set():
            self._background.wait(self._engine.sleep(level=1))
            self._asleep.set()

    def resume(self) -> None:
        """Wake the engine, if it sleeps."""
        self._background.wait(self._wake())

    async def _wake(self) -> None:
        if self._asleep.is_set():
            import torch

            self._asleep.clear()  # first, so that of many that ask at once only one wakes it
            torch.cuda.empty_cache()  # what the model in training does not use, but torch keeps
            await self._engine.wake_up()

    def close(self) -> None:
        """Stop the engine. Requests that wait for a reply are interrupted."""
        if not self._owns_engine:
            return
        self._owns_engine = False

        async def stop() -> None:
            self._engine.shutdown(timeout=PATIENCE)

        self._background.close(stop())
        del self._engine


def _device_of_this_process(devices: int) -> dict[str, object]:
    """The setting that names the device of an engine, where a launcher started several processes.

    vLLM counts among the visible devices, as torch does for the model of this process.

    Raises:
        UserError: the engine is to have several devices, which other processes use.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1"))) == 1:
        return {}
    if devices > 1:
        raise UserError(
            f"each of several processes has one device, and tensor_parallel_size is {devices}; "
            "fix: omit it, start one process, or serve the model and name it by openai:"
        )
    return {"device_ids": [int(os.environ["LOCAL_RANK"])]}


@contextmanager
def _launcher_hidden() -> Iterator[None]:
    """Start an engine as if no launcher had started this process: it must not join the others."""
    hidden = {
        name: os.environ.pop(name)
        for name in tuple(os.environ)
        if name in _LAUNCHER or name.startswith(_PREFIXES)
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _cannot_load(path: str, error: Exception) -> UserError:
    return UserError(
        f"cannot load the model {path!r} ({reason_of(error)[:120]}); "
        "fix: name a model that vLLM serves, with weights and a processor"
    )
