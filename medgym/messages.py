"""The messages between policy and environment, and the one strict parser of actions.

A reply holds one to four tool calls, or one answer, after an optional thought:

    <think>free text</think>
    <tool_call>{"name": "zoom", "arguments": {"view": 0, "box": [120, 300, 380, 560]}}</tool_call>

    <think>...</think><answer>B</answer>

Parsing is anchored at both ends: nothing may stand outside the tags. A reply that holds both a call
and an answer is malformed, and its answer does not count: if an answer beside a call earned its
reward, a policy would exploit that within a hundred steps of training.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

from PIL import Image

from medgym.imaging.lazy_image import Picture

MessageRole = Literal["system", "user", "assistant", "tool"]

MAX_CALLS = 4
"""Tool calls in one reply."""

MAX_TEXT = 16_384
"""Characters of one text, the policy's or the environment's."""

_SHORTENED = re.compile(r" \[cut: the reply has \d{1,15} characters\]")


@dataclass(frozen=True)
class TextPart:
    """A piece of text in a message."""

    text: str


class ImagePart:
    """A view in a message, at its own size. Its pixels are drawn when they are needed."""

    def __init__(self, view: int, image: Image.Image | Picture) -> None:
        self.view = view
        self.picture = Picture.of(image)

    @property
    def image(self) -> Image.Image:
        """The pixels."""
        return self.picture.image

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.picture.size

    @property
    def sha256(self) -> str:
        """The hash of the pixels, as the image store names them."""
        return self.picture.sha256


@dataclass(frozen=True)
class Usage:
    """Tokens of one request, as a server counts and charges them.

    Attributes:
        prompt_tokens: the whole conversation so far, images included.
        completion_tokens: the reply, its thought included.
        cached_tokens: those of `prompt_tokens` that the server had read before, and may charge less
            for; None where it does not say.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True)
class Reply:
    """What a policy answered in one turn.

    Attributes:
        text: the reply, without end-of-turn tokens. An episode keeps it as `shortened` does.
        prompt_ids: every token that the sampler was given, from the start of the conversation,
            image placeholders expanded; None for a policy without tokens.
        token_ids: every token that it sampled, the end-of-turn token included.
        logprobs: the log-probability of each of `token_ids` under the distribution from which it
            was sampled.
        image_tokens: how many placeholder tokens each image of the conversation has, in order.
        cut: whether the token limit ended the reply, and not the policy.
        full: whether the prompt left no room for a reply (`Sampling.max_context`), so that nothing
            was sampled.
        malformed: what is wrong with a call that the model wrote in its family's own form. Without
            a fault, `text` holds such calls in the form of this module; `token_ids` are untouched.
        usage: what a server says that this request took; None where it does not say.
    """

    text: str
    prompt_ids: tuple[int, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    image_tokens: tuple[int, ...] = ()
    cut: bool = False
    full: bool = False
    malformed: "Malformed | None" = None
    usage: Usage | None = None


def shortened(reply: Reply) -> Reply:
    """The reply as it is kept, stored and shown again: its text only up to `MAX_TEXT`.

    A mark says how long a longer text was. With the mark it is still over the limit, so it stays
    malformed for everyone who parses it later. The tokens are untouched: they are what was sampled.
    """
    text = reply.text
    if len(text) <= MAX_TEXT or _SHORTENED.fullmatch(text, MAX_TEXT):
        return reply
    return replace(reply, text=f"{text[:MAX_TEXT]} [cut: the reply has {len(text)} characters]")


@dataclass(frozen=True)
class ToolOffer:
    """The tools of an episode, for a model whose chat template writes them in its own form.

    Attributes:
        schemas: JSON of each tool's `{"name", "description", "parameters"}`.
        instructions: the system message without the schemas and without a form of calls.
    """

    schemas: tuple[str, ...]
    instructions: str


@dataclass(frozen=True)
class CallResult:
    """What the environment says and shows of one call."""

    text: str
    images: tuple[ImagePart, ...] = ()


@dataclass(frozen=True)
class Message:
    """One turn of the conversation: images first, then text.

    Attributes:
        offer: in a system message that lists tools, what it says in parts.
        results: in a message of tools, what it says of each call, in order.
    """

    role: MessageRole
    content: tuple[TextPart | ImagePart, ...]
    reply: Reply | None = None
    offer: ToolOffer | None = field(default=None, compare=False)
    results: tuple[CallResult, ...] = field(default=(), compare=False)

    @property
    def text(self) -> str:
        """All text of the message."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """All images of the message."""
        return tuple(part for part in self.content if isinstance(part, ImagePart))

    def chat(self) -> dict[str, Any]:
        """As chat content: `{"role": ..., "content": [{"type": "image", ...}, ...]}`."""
        content: list[dict[str, Any]] = [
            {"type": "image", "image": part.image}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": part.text}
            for part in self.content
        ]
        return {"role": self.role, "content": content}


def message(role: MessageRole, text: str, images: Sequence[ImagePart] = ()) -> Message:
    """A message of images, then text."""
    return Message(role, (*images, TextPart(text)))


@dataclass(frozen=True)
class ToolCall:
    """One call that a policy asks for. Its arguments are not checked yet."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Calls:
    """A well-formed reply that asks for tools."""

    calls: tuple[ToolCall, ...]
    think: str | None = None


@dataclass(frozen=True)
class Final:
    """A well-formed reply that answers."""

    answer: str
    think: str | None = None


MalformedKind = Literal["form", "both", "json", "call", "length", "cut"]
"""What was wrong with a reply: its form as a whole, a call and an answer in one reply, a call that
is not JSON, a call of another form, its length, or that the token limit cut it inside its
thought."""


@dataclass(frozen=True)
class Malformed:
    """A reply that could not be parsed. `error` says what was expected, `kind` names the fault."""

    kind: MalformedKind
    error: str
    think: str | None = field(default=None)


Action = Calls | Final | Malformed

_EXPECTED = (
    "expected <tool_call>{...}</tool_call> (one to four) or <answer>...</answer>, "
    "after an optional <think>...</think>, and nothing else"
)
_CALL_FORM = '{"name": TOOL, "arguments": {...}}'
THOUGHT_TAGS = (
    ("<think>", "</think>"),
    ("<unused94>thought", "<unused95>"),  # MedGemma
    ("<|channel>thought", "<channel|>"),  # Gemma 4
)
"""What a thought begins and ends with. The first pair is that of the instructions and of most
models; the others are of models that think in their own form."""

_BEGUN = re.compile(rf"\s*(?:{'|'.join(re.escape(begin) for begin, _ in THOUGHT_TAGS)})")
_THINK = re.compile(
    rf"\s*(?:{'|'.join(f'{re.escape(b)}(.*?){re.escape(e)}' for b, e in THOUGHT_TAGS)})", re.DOTALL
)
_CALL = re.compile(r"\s*<tool_call>(.*?)</tool_call>", re.DOTALL)
_ANSWER = re.compile(r"\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_TAG = re.compile(r"</?(?:think|tool_call|answer)>")


def parse_action(text: str, *, cut: bool = False) -> Action:
    """Parse a policy's reply. Never raises: a reply that cannot be parsed is `Malformed`.

    Args:
        cut: whether the token limit ended the reply.
    """
    if len(text) > MAX_TEXT:
        return Malformed("length", f"the reply has over {MAX_TEXT} characters; {_EXPECTED}")
    think, body = None, text
    thought = _THINK.match(text)
    if thought:
        think, body = thought[thought.lastindex or 1], text[thought.end() :]
    elif cut and _BEGUN.match(text):
        return Malformed("cut", f"the token limit cut the reply inside its thought; {_EXPECTED}")
    calls, end = [], 0
    while found := _CALL.match(body, end):
        calls.append(found[1])
        end = found.end()
    if calls:
        return _read_calls(calls, body[end:], think)
    answer = _ANSWER.fullmatch(body)
    if answer and not _TAG.search(answer[1]):
        if answer[1].strip():
            return Final(answer[1].strip(), think)
        return Malformed("form", f"the answer is empty; {_EXPECTED}", think)
    if "<tool_call>" in body and "<answer>" in body:
        return Malformed("both", f"a call and an answer in one reply; {_EXPECTED}", think)
    kind: MalformedKind = "call" if "<tool_call>" in body else "form"
    return Malformed(kind, f"cannot read the reply; {_EXPECTED}", think)


def _read_calls(bodies: list[str], rest: str, think: str | None) -> Calls | Malformed:
    if "<answer>" in rest:
        return Malformed("both", f"a call and an answer in one reply; {_EXPECTED}", think)
    if rest.strip():
        return Malformed("call", f"text after the last call; {_EXPECTED}", think)
    if len(bodies) > MAX_CALLS:
        return Malformed("call", f"{len(bodies)} calls in one reply; {_EXPECTED}", think)
    calls = []
    for body in bodies:
        try:
            value = strict_json(body)
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            return Malformed("json", f"a call is not JSON ({reason}); expected {_CALL_FORM}", think)
        if not (
            isinstance(value, dict)
            and value.keys() == {"name", "arguments"}
            and isinstance(value["name"], str)
            and isinstance(value["arguments"], dict)
        ):
            return Malformed("call", f"a call has another form; expected {_CALL_FORM}", think)
        calls.append(ToolCall(value["name"], value["arguments"]))
    return Calls(tuple(calls), think)


def strict_json(text: str) -> Any:
    """The value of a JSON text, as calls may hold it.

    Raises:
        ValueError: no JSON, a key that stands twice, NaN, an infinite number, a lone surrogate.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(
        text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
    )
    # What JSON can escape and UTF-8 cannot hold (lone surrogates) would break files later.
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def render_call(name: str, arguments: Mapping[str, Any], think: str | None = None) -> str:
    """The text of one call, which `parse_action` parses back."""
    body = json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)
    body = body.replace("</tool_call>", "\\u003c/tool_call>")  # the same text, but no tag
    return _thought(think) + f"<tool_call>{body}</tool_call>"


def render_answer(answer: str, think: str | None = None) -> str:
    """The text of an answer, which `parse_action` parses back."""
    return _thought(think) + f"<answer>{answer}</answer>"


def thought_of(text: str) -> str:
    """The thought at the beginning of a reply, with its tags; empty where there is none."""
    found = _THINK.match(text)
    return found[0] if found else ""


def _thought(think: str | None) -> str:
    return "" if think is None else f"<think>{think}</think>"
