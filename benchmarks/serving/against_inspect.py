"""inspect_ai, run by a Python that has it: `FILE CHAT OUT URL MODEL MAX_TOKENS CONCURRENCY`.

A task with its solver `generate` and a scorer of the answer in its tag. Its logs go to a folder.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer
from inspect_ai.solver import generate
from peak import peak
from tagged import is_right


@scorer(metrics=[accuracy()])  # type: ignore[untyped-decorator]
def tagged() -> Any:
    """Whether the answer is the letter, or the text of the option."""

    async def score(state: Any, target: Any) -> Any:
        right = is_right(state.output.completion, list(target))
        return Score(value=CORRECT if right else INCORRECT)

    return score


def samples(chat: str) -> list[Any]:
    """The questions of a file."""
    made = []
    for line in Path(chat).read_text("utf-8").splitlines():
        asked = json.loads(line)
        content = [ContentImage(image=asked["image"]), ContentText(text=asked["text"])]
        system = ChatMessageSystem(content=asked["system"])
        made.append(
            Sample(
                id=asked["id"],
                input=[system, ChatMessageUser(content=content)],
                target=[asked["letter"], asked["options"]["ABCD".index(asked["letter"])]],
            )
        )
    return made


def main() -> None:
    """Evaluate, and write what was measured."""
    file, chat, out, url, model, max_tokens, concurrency = sys.argv[1:]
    config = GenerateConfig(max_connections=int(concurrency))
    played = get_model(f"openai-api/served/{model}", config=config, base_url=url, api_key="none")
    task = Task(dataset=MemoryDataset(samples(chat)), solver=generate(), scorer=tagged())
    begin = time.time()
    (log,) = eval(
        task, model=played, log_dir=out, display="none", temperature=0.0,
        max_tokens=int(max_tokens), max_samples=int(concurrency), log_images=True,
    )  # fmt: skip
    end = time.time()
    if log.status != "success" or log.samples is None:
        sys.exit(f"inspect_ai: {log.status} {log.error}")
    right = {each.id: each.scores["tagged"].value == CORRECT for each in log.samples}
    measured = {"begin": begin, "end": end, "memory": peak(), "right": right}
    Path(file).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
