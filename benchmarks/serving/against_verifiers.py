"""verifiers 0.4, run by a Python that has it: `FILE CHAT OUT URL MODEL MAX_TOKENS CONCURRENCY`.

Its harness runs in this process, which its interface permits: no program is started for an episode.
Its traces go to a folder.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import verifiers.v1 as vf
from peak import peak
from tagged import is_right
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.configs.cli.eval import EvalConfig

__all__ = ["VerifiersHarness", "VerifiersTaskset"]

_clients: dict[str, httpx.AsyncClient] = {}


def main() -> None:
    """Evaluate, and write what was measured."""
    file, chat, out, url, model, max_tokens, concurrency = sys.argv[1:]
    config = EvalConfig.model_validate({
        "env": {
            "taskset": {"id": "against_verifiers", "chat": chat},
            "agent": {
                "harness": {"id": "against_verifiers"},
                "runtime": {"type": "subprocess"},
                "max_turns": 1,
            },
        },
        "model": model,
        "client": {"type": "eval", "base_url": url, "api_key_var": "NO_KEY"},
        "sampling": {"temperature": 0.0, "max_tokens": int(max_tokens)},
        "max_concurrent": int(concurrency),
        "push": False,
        "rich": None,
        "output_dir": out,
    })  # fmt: skip
    begin = time.time()
    episodes = asyncio.run(run_eval(config))
    end = time.time()
    right = {}
    for episode in episodes:
        (trace,) = episode.traces
        right[trace.task.data.name] = bool(trace.reward)
    measured = {"begin": begin, "end": end, "memory": peak(), "right": right}
    Path(file).write_text(json.dumps(measured), "utf-8")


class VerifiersConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Where the questions are."""

    chat: str = ""


class VerifiersData(vf.TaskData):  # type: ignore[misc]
    """A question, with the letter that is right."""

    letter: str
    options: list[str]


class VerifiersTask(vf.Task[VerifiersData]):  # type: ignore[misc]
    """Scores the answer in its tag."""

    @vf.reward  # type: ignore[untyped-decorator]
    async def right(self, trace: Any) -> float:
        """Whether it is the letter, or the text of the option."""
        option = self.data.options["ABCD".index(self.data.letter)]
        return float(is_right(trace.last_reply or "", (self.data.letter, option)))


class VerifiersTaskset(vf.Taskset[VerifiersTask, VerifiersConfig]):  # type: ignore[misc]
    """All questions of a file."""

    def load(self) -> Iterator[VerifiersTask]:
        """One after the other."""
        import base64

        for line in Path(self.config.chat).read_text("utf-8").splitlines():
            asked = json.loads(line)
            png = base64.b64encode(Path(asked["image"]).read_bytes()).decode()
            image = {"url": f"data:image/png;base64,{png}"}
            content = [
                {"type": "image_url", "image_url": image},
                {"type": "text", "text": asked["text"]},
            ]
            yield VerifiersTask(
                VerifiersData(
                    name=asked["id"],
                    system_prompt=asked["system"],
                    prompt=[vf.UserMessage(content=content)],
                    letter=asked["letter"],
                    options=asked["options"],
                )
            )


class VerifiersHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """Sends the question once."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
    ) -> Any:
        """One request, through the endpoint that the library watches."""
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        messages += [message.model_dump(exclude_none=True) for message in prompt]
        if endpoint not in _clients:
            _clients[endpoint] = httpx.AsyncClient(timeout=600, trust_env=False)
        answer = await _clients[endpoint].post(
            f"{endpoint}/chat/completions",
            json={"model": ctx.model, "messages": messages},
            headers={"Authorization": f"Bearer {secret}"},
        )
        answer.raise_for_status()
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


if __name__ == "__main__":
    main()
