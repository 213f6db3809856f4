"""Tools as a chat template writes them, and calls as its family does: `tool_form=native`.

Nothing is known by a model's name. The template is given a call and the form in which it writes it
is recognised; the same template then writes demonstrations. What a model samples is read into the
form of `medgym.messages`, in which all else of medgym reads replies; its tokens are not touched.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import (
    MAX_CALLS,
    MAX_TEXT,
    Action,
    Calls,
    Final,
    Malformed,
    MalformedKind,
    Message,
    Reply,
    ToolCall,
    parse_action,
    render_call,
    thought_of,
)

from .form import Schemas, ToolForm
from .gemma import Gemma
from .hermes import Hermes
from .tagged import Arguments, Functions

FORMS: tuple[type[ToolForm], ...] = (Hermes, Functions, Arguments, Gemma)
"""All forms that medgym reads."""

ChatMessage = dict[str, Any]

Template = Callable[[Sequence[ChatMessage], Sequence[ChatMessage]], str]
"""Writes messages, and offers tools in them."""

_PROBES = (
    ToolCall("probe_tool", {"box": [1, 2.5], "kind": "left lung", "view": 3}),
    ToolCall("probe_tool", {"box": [], "kind": "7", "view": 0}),
)
_SCHEMA: dict[str, Any] = {
    "name": "probe_tool",
    "description": "A probe.",
    "parameters": {
        "type": "object",
        "properties": {
            "box": {"type": "array", "items": {"type": "number"}, "description": "a box"},
            "kind": {"type": "string", "description": "a kind"},
            "view": {"type": "integer", "description": "a view"},
        },
        "required": ["view"],
    },
}


@dataclass(frozen=True)
class NativeCalls:
    """A chat template's own tools and calls.

    Attributes:
        form: in which it writes calls.
        after: what it writes behind a reply that calls.
        template: writes messages, and offers tools in them.
    """

    form: ToolForm
    after: str
    template: Template

    @classmethod
    def of(cls, template: Template) -> "NativeCalls":
        """Find out how a chat template offers and writes tools.

        Raises:
            UserError: it has no place for them, or writes calls in a form that medgym cannot read.
        """
        try:
            offered = template([_ASKED], [_function(_SCHEMA)])
            one, both = (template([_ASKED, _called(_PROBES[:n])], ()) for n in (1, 2))
        except Exception as error:  # templates raise what they like
            raise _refused(f"has no place for tools ({type(error).__name__})") from error
        if _SCHEMA["name"] not in offered or _SCHEMA["name"] not in one:
            raise _refused("has no place for tools")
        for kind in FORMS:
            form = kind()
            end = one.rfind(form.end)
            made = cls(form, one[end + len(form.end) :], template)
            if form.begin in one and end >= 0 and made._reads(both, _PROBES):
                return made
        raise _refused("writes tool calls in a form that medgym does not read")

    def functions(self, schemas: Sequence[str]) -> list[ChatMessage]:
        """Tools as a chat template takes them."""
        return [_function(json.loads(schema)) for schema in schemas]

    def offered(self, conversation: Sequence[Message]) -> tuple[str, ...]:
        """JSON of the schemas of the tools that a conversation offers."""
        offer = next((each.offer for each in conversation if each.offer is not None), None)
        return () if offer is None else offer.schemas

    def chat(self, message: Message, chat: ChatMessage, plain: Callable[[str], str]) -> None:
        """Put the template's own words for tools into a message that is rendered from the start."""
        text = chat["content"][-1]
        if message.offer is not None:
            text["text"] = plain(message.offer.instructions)
        elif message.role == "assistant":
            text["text"] = self.write(text["text"])

    @property
    def dialogue(self) -> list[ChatMessage]:
        """The shortest conversation that ends with a call."""
        return [_ASKED, _called(_PROBES[:1])]

    def write(self, text: str) -> str:
        """A reply that calls as medgym writes it, with its calls as the template writes them.

        A text in an argument that spells a mark of the form is written with a space in it.

        Raises:
            Failure: this form cannot hold a call.
        """
        action = parse_action(text)
        if not isinstance(action, Calls):
            return text
        calls = tuple(self.form.writable(call) for call in action.calls)
        written = self.template([_ASKED, _called(calls)], ())
        if not self._reads(written, calls):
            name = action.calls[0].name[:40]
            raise Failure("policy", f"the model's own form of tool calls cannot hold {name!r}")
        return thought_of(text) + self._cut(written)

    def read(self, reply: Reply, schemas: Sequence[str]) -> Reply:
        """The reply with its calls in medgym's form, or with what is wrong with it."""
        text, thought = reply.text, thought_of(reply.text)
        body = text[len(thought) :]
        action = parse_action(text, cut=reply.cut)
        in_thought = isinstance(action, Malformed) and action.kind == "cut"
        if len(text) > MAX_TEXT or in_thought or self.form.begin not in body:
            return self._without_calls(reply, action)
        if "<answer>" in self.form.pattern.sub("", body):
            return self._malformed(reply, "both", "a call and an answer in one reply")
        try:
            calls = self._calls(body, _parameters(map(json.loads, schemas)))
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
            return self._malformed(reply, "call", f"cannot read a call ({reason})")
        if len(calls) > MAX_CALLS:
            return self._malformed(reply, "call", f"{len(calls)} calls in one reply")
        said = "\n".join(render_call(call.name, call.arguments) for call in calls)
        return replace(reply, text=thought + said)

    def _without_calls(self, reply: Reply, action: Action) -> Reply:
        if isinstance(action, Final):
            return reply
        if isinstance(action, Malformed) and action.kind in ("form", "length", "cut"):
            return self._malformed(reply, action.kind, action.error.partition("; expected")[0])
        return self._malformed(reply, "call", "the call has another form")

    def _malformed(self, reply: Reply, kind: MalformedKind, why: str) -> Reply:
        expected = (
            f"expected {self.form.example} (one to four) or <answer>...</answer>, "
            "after an optional <think>...</think>, and nothing else"
        )
        text, action = reply.text, parse_action(reply.text)
        if not isinstance(action, Malformed):  # a later reader of the text reads the same
            text = text.replace("<tool_call>", "< tool_call>")
        fault = Malformed(kind, f"{why}; {expected}", action.think)
        return replace(reply, text=text, malformed=fault)

    def _reads(self, written: str, calls: Sequence[ToolCall]) -> bool:
        """Whether these calls can be read from what the template wrote."""
        try:
            return self._calls(self._cut(written), _texts(calls)) == list(calls)
        except (ValueError, RecursionError):
            return False

    def _cut(self, written: str) -> str:
        """The calls in what the template wrote of a question and a reply."""
        begin = written.find(self.form.begin)
        return written[begin : len(written) - len(self.after)]

    def _calls(self, text: str, schemas: Schemas) -> list[ToolCall]:
        calls, end = [], 0
        while found := self.form.pattern.match(text, end):
            calls.append(self.form.read(found[1], schemas))
            end = found.end()
        if text[end:].strip():
            raise ValueError("text beside the calls" if calls else "text before the call")
        return calls


_ASKED: ChatMessage = {"role": "user", "content": [{"type": "text", "text": "question"}]}


def _function(schema: Mapping[str, Any]) -> ChatMessage:
    return {"type": "function", "function": dict(schema)}


def _called(calls: Sequence[ToolCall]) -> ChatMessage:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for number, call in enumerate(calls)
        ],
    }


def _parameters(schemas: Iterable[Mapping[str, Any]]) -> Schemas:
    return {str(schema["name"]): schema.get("parameters", {}) for schema in schemas}


def _texts(calls: Sequence[ToolCall]) -> Schemas:
    """Schemas that say which arguments of these calls are texts."""
    made: dict[str, Any] = {}
    for call in calls:
        kept = made.setdefault(call.name, {"properties": {}})["properties"]
        for key, value in call.arguments.items():
            kept[key] = {"type": "string"} if isinstance(value, str) else {}
    return made


def _refused(why: str) -> UserError:
    return UserError(
        f'the model\'s chat template {why}; fix: [tools] form = "text", or leave tool_form out'
    )
