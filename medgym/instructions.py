"""The system message of an episode: how to act, and what the tools are."""

import json
from collections.abc import Sequence

from medgym.messages import MAX_CALLS
from medgym.tool import Tool, schema_of
from medgym.tool_form import ToolFormName
from medgym.workspace import Coordinates


def instructions(
    tools: Sequence[Tool],
    coordinates: Coordinates = "thousandths",
    *,
    form: ToolFormName = "text",
) -> str:
    """The system message: how to act, and the schema of every tool.

    Args:
        form: with "native", the chat template writes the schemas and says how to call.
    """
    frame = (
        "in thousandths of its view (0 to 1000)"
        if coordinates == "thousandths"
        else "in pixels of its view"
    )
    answer = "Reply <answer>...</answer> to answer; of options, give the letter."
    think = "You may write <think>...</think> first."
    if not tools:
        return f"Answer the question about the images.\n{answer} {think}"
    views = (
        "Answer the question about the images. Views of them are numbered from 0.\n"
        f"A box is [x0, y0, x1, y1] {frame}, from the top left.\n"
    )
    if form == "native":
        return (
            f"{views}Call functions, up to {MAX_CALLS} in a reply, to use tools. {answer} {think} "
            "Write nothing else beside a call, and never call and answer in one reply."
        )
    schemas = "\n".join(json.dumps(schema_of(tool), ensure_ascii=False) for tool in tools)
    return (
        f"{views}Tools:\n{schemas}\n"
        'Reply <tool_call>{"name": ..., "arguments": {...}}</tool_call>, up to '
        f"{MAX_CALLS} in a reply, to use tools. {answer} {think} "
        "Never call and answer in one reply."
    )
