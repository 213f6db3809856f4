"""From a conversation to the tokens that a model is given, append-only.

The first prompt comes from the model's chat template. Every later turn adds tokens to those already
held: the reply exactly as it was sampled, then the template's rendering of only the new message.
Nothing is rendered or tokenised twice, so nothing can drift between turns.
"""

import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medgym.errors import UserError
from medgym.imaging.lazy_image import Picture
from medgym.messages import Calls, Final, Message, Reply, parse_action
from medgym.tool_form import ToolFormName

from .image_tokens import (
    check_counts,
    check_processor,
    count_features,
    image_token,
    placeholder_of,
    settle_images,
)
from .prompt import Prompt as Prompt
from .tool_forms import NativeCalls

if TYPE_CHECKING:
    from transformers import ProcessorMixin

ChatMessage = dict[str, Any]
"""A message as chat templates take it."""

_VISION = re.compile(r"vision|image|video|img|soft_token", re.IGNORECASE)
_TAGS = {f"<{end}{tag}>" for end in ("", "/") for tag in ("think", "tool_call", "answer")}
_OPENED = re.compile(r"<think>\s*$")
_THOUGHTFUL = re.compile(r"\s*<think>\n*(.*?)(?:\n*(</think>)\n*|\Z)", re.DOTALL)
_PROBE = "reply"
_THOUGHT = "thought"
_LIST = "'type': 'text'"
"""In what a template writes: it took a list of parts for a text."""

_REMEMBERED = 1_000


class Renderer:
    """Renders conversations for one processor (any transformers vision-language processor).

    Attributes:
        image_token_id: the placeholder that stands for one image feature.
        vision_token_ids: every special token that stands for images, the placeholder first.
        vision_words: the same as texts, as engines take them as `bad_words`: never sampled.
        eos_token_id: the token with which the template ends a reply. Where it writes none and the
            model stops at the first token of the next turn, that one.
        stop_token_ids: all tokens that end one, that of the template among them.
        opening: what the template writes at the start of every reply, such as `<think>` and a new
            line: part of a reply's text, but not of its tokens.
        tool_role: the role under which tools' images are shown: `tool` where the chat template
            places images there, else `user`.

    Args:
        processor: of the model.
        stops: tokens that end a reply beside the template's own.
        on_pixels: receives the pixels that the processor made when it wrote an image's
            placeholders. Making them is most of the work, and the model needs them soon.
        tool_form: how tools are offered and called.

    Raises:
        UserError: no vision-language processor, or its chat template is missing, shows no images,
            drops an assistant's text, rewrites earlier turns or cannot offer tools in its own form.
    """

    def __init__(
        self,
        processor: "ProcessorMixin",
        stops: Collection[int] = (),
        on_pixels: Callable[[Sequence[Picture], Mapping[str, object]], None] | None = None,
        tool_form: ToolFormName = "text",
    ) -> None:
        check_processor(processor)
        self.processor: Any = processor  # each family has members of its own
        self.tokenizer = processor.tokenizer
        if not getattr(processor, "chat_template", None):
            raise UserError(
                "the model's processor has no chat template; fix: choose an instruction-tuned model"
            )
        settle_images(processor)
        self.image_token_id = placeholder_of(processor)
        special = set(self.tokenizer.all_special_tokens)
        special |= {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        self._vision = {t for t in special if _VISION.search(t)} | {image_token(processor)}
        vision = {int(self.tokenizer.convert_tokens_to_ids(token)) for token in self._vision}
        self.vision_token_ids = (self.image_token_id, *sorted(vision - {self.image_token_id}))
        self.vision_words: list[str] = self.tokenizer.convert_ids_to_tokens(
            list(self.vision_token_ids)
        )
        names = sorted((special | self._vision) - _TAGS, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)))
        try:
            self._writes_lists = False
            self._writes_lists = _LIST in self._template(_dialogue(), generate=False)
            self._after_reply = self._find_end_of_reply()
            self.opening = self._find_opening()
            self._closing = self._find_closing() if self.opening else ""
            self.tool_role = "tool" if self._tool_shows_images() else "user"
            self.eos_token_id = self._find_end_token(self.tool_role, special, stops)
            self._answer_end = self.eos_token_id
            if not self._after_reply:
                self._answer_end = self._find_end_token("user", special, stops)
            self._native = NativeCalls.of(self._written) if tool_form == "native" else None
            self._call_end = self._find_call_end(special)
            ends = {self.eos_token_id, self._answer_end, self._call_end}
            self.stop_token_ids = frozenset(stops) | ends
            shown = self._template([_picture("user")], generate=True)
            shows = self._shows_image(shown)
        except UserError:
            raise
        except Exception as error:  # templates raise what they like
            raise UserError(
                f"the model's chat template cannot write a conversation ({error}); fix: choose a "
                "model with a template for images"
            ) from error
        if not shows:
            raise UserError(
                "the model's chat template shows no images; fix: choose a vision-language model"
            )
        check_counts(processor, shown, self.image_token_id)
        self._encoded: dict[Hashable, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._on_pixels = on_pixels

    def _template(
        self,
        messages: Sequence[ChatMessage],
        *,
        generate: bool,
        tools: Sequence[ChatMessage] = (),
    ) -> str:
        if self._writes_lists:
            messages = [_as_string(message) for message in messages]
        offered = {"tools": list(tools)} if tools else {}
        text = self.processor.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=generate, **offered
        )
        assert isinstance(text, str)
        return text

    def _find_end_of_reply(self) -> str:
        """What the template writes after a reply's text, such as `<|im_end|>` and a new line."""
        text = self._template(_dialogue(), generate=False)
        if _PROBE not in text:
            raise UserError("the model's chat template drops the assistant's text; fix: another")
        return text[text.rindex(_PROBE) + len(_PROBE) :]

    def _find_end_token(self, role: str, special: set[str], stops: Collection[int]) -> int:
        """The special token that ends a reply, where a message of some role follows.

        The template's own; else the first of the next turn, if the model stops where it writes it
        (GLM); else the tokenizer's.
        """
        following = self._added([{"role": role, "content": [{"type": "text", "text": "seen"}]}])
        text = self._after_reply or following
        first = self.tokenizer(text, add_special_tokens=False)["input_ids"][:1]
        is_special = first and self.tokenizer.convert_ids_to_tokens(first[0]) in special
        if is_special and (self._after_reply or first[0] in stops):
            return int(first[0])
        if self.tokenizer.eos_token_id is None:
            raise UserError("the model has no token that ends a reply; fix: choose another model")
        return int(self.tokenizer.eos_token_id)

    def _written(self, messages: Sequence[ChatMessage], tools: Sequence[ChatMessage]) -> str:
        return self._template(messages, generate=False, tools=tools)

    def _find_call_end(self, special: set[str]) -> int:
        """The token that ends a reply which calls in the template's own form."""
        after = "" if self._native is None else self._native.after
        first = self.tokenizer(after, add_special_tokens=False)["input_ids"][:1]
        if first and self.tokenizer.convert_ids_to_tokens(first[0]) in special:
            return int(first[0])
        return self.eos_token_id

    def _find_opening(self) -> str:
        """The tag of a thought that the template opens for every reply, with the space after it."""
        opened = _OPENED.search(self._template(_dialogue()[:1], generate=True))
        return opened[0] if opened else ""

    def _find_closing(self) -> str:
        """What the template writes between a thought and what follows it."""
        thoughtful = {"type": "text", "text": f"<think>\n{_THOUGHT}\n</think>\n\n{_PROBE}"}
        said = [*_dialogue()[:1], {"role": "assistant", "content": [thoughtful]}]
        text = self._template(said, generate=False).rpartition(_THOUGHT)[2].partition(_PROBE)[0]
        return text if text.strip() == "</think>" else "\n</think>\n\n"

    def _tool_shows_images(self) -> bool:
        try:
            return self._shows_image(self._added([_picture("tool")]))
        except Exception:  # templates raise on a role that they do not know
            return False

    def _shows_image(self, text: str) -> bool:
        shows = any(token in text for token in self._vision)
        return shows and "seen" in text and _LIST not in text

    def _added(
        self, messages: Sequence[ChatMessage], dialogue: Sequence[ChatMessage] | None = None
    ) -> str:
        """What the template writes for messages after a reply, up to the next reply."""
        dialogue = _dialogue() if dialogue is None else dialogue
        head = self._template(dialogue, generate=False)
        whole = self._template([*dialogue, *messages], generate=True)
        if not whole.startswith(head):
            raise UserError(
                "the model's chat template rewrites earlier turns; fix: choose a model whose "
                "template keeps them, or pass a training template"
            )
        return whole[len(head) :]

    def prompt(self, conversation: Sequence[Message]) -> Prompt:
        """All tokens up to the next reply.

        The tokens of the last reply are continued. A conversation without tokens, or whose replies
        came without them, is rendered from the start.
        """
        pictures = tuple(part.picture for message in conversation for part in message.images)
        last = max((i for i, m in enumerate(conversation) if m.reply is not None), default=-1)
        reply = conversation[last].reply if last >= 0 else None
        tools: tuple[str, ...] = ()
        if self._native is not None:
            tools = self._native.offered(conversation)
        if reply is None or reply.prompt_ids is None or reply.token_ids is None:
            ids, sizes = self._remember(
                ("start", *map(_key, conversation)),
                lambda: self._opened(conversation, tools),
                pictures,
            )
            return Prompt(ids, pictures, sizes, tools=tools)
        ends = reply.token_ids[-1:]
        end = ends[0] if ends and ends[0] in self.stop_token_ids else None
        ids, sizes = self._addition(conversation[last + 1 :], end)
        held = reply.prompt_ids + reply.token_ids
        return Prompt(
            held + ids,
            pictures,
            reply.image_tokens + sizes,
            held=len(held),
            held_images=len(reply.image_tokens),
            tools=tools,
        )

    def _opened(self, conversation: Sequence[Message], tools: Sequence[str]) -> str:
        """A conversation that is rendered from the start."""
        functions = [] if self._native is None else self._native.functions(tools)
        return self._template([self._chat(m) for m in conversation], generate=True, tools=functions)

    def _addition(
        self, messages: Sequence[Message], end: int | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        def text() -> str:
            chat = [self._chat(m) for m in messages]
            if self._native is not None and end == self._call_end != self.eos_token_id:
                whole = self._native.after + self._added(chat, self._native.dialogue)
            else:
                whole = self._after_reply + self._added(chat)
            # The token that ended the reply is there, be it the next turn's first one.
            return whole if end is None else whole.removeprefix(self.tokenizer.decode([end]))

        pictures = [part.picture for message in messages for part in message.images]
        return self._remember((end, *map(_key, messages)), text, pictures)

    def _remember(
        self, key: Hashable, text: Callable[[], str], pictures: Sequence[Picture]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Encode once what the members of a group, and many turns, have in common."""
        if key not in self._encoded:
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            self._encoded[key] = self._encode(text(), pictures)
        return self._encoded[key]

    def _chat(self, message: Message) -> ChatMessage:
        chat = message.chat()
        if chat["role"] == "tool":
            chat["role"] = self.tool_role
        for part in chat["content"]:
            if part["type"] == "text":
                part["text"] = self._plain(part["text"])
        if self._native is not None:
            self._native.chat(message, chat, self._plain)
        return chat

    def _plain(self, text: str) -> str:
        """Text in which nothing spells a special token: a policy may write `<|image_pad|>` letter
        by letter, and an error that quotes it would be read as an image that is not there."""
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _encode(
        self, text: str, pictures: Sequence[Picture]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not pictures:
            return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]), ()
        images = [picture.image for picture in pictures]
        inputs = self.processor(
            text=[text], images=images, add_special_tokens=False, return_tensors="pt"
        )
        ids = tuple(inputs.pop("input_ids")[0].tolist())
        if self._on_pixels is not None:
            words = {*self.tokenizer.model_input_names, "mm_token_type_ids", "token_type_ids"}
            self._on_pixels(pictures, {k: v for k, v in inputs.items() if k not in words})
        return ids, count_features(self.processor, images)

    def encode_reply(self, text: str) -> tuple[int, ...]:
        """The tokens of a reply that was written, not sampled, with its end.

        Where the template opens a thought, the thought of the text continues it, and a text without
        one closes it at once; both as the template writes them. So are calls in the native form.

        Raises:
            Failure: that form cannot hold a call.
        """
        action = parse_action(text)
        end = self._answer_end if isinstance(action, Final) else self.eos_token_id
        text = self._plain(text)
        if self._native is not None:
            end = self._call_end if isinstance(action, Calls) else end
            text = self._native.write(text)
        if self.opening:
            thought = _THOUGHTFUL.match(text)
            if thought is None:
                text = self._closing + text
            else:
                closing = self._closing if thought[2] else ""  # it may end in its thought
                text = thought[1] + closing + text[thought.end() :]
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*map(int, ids), end)

    def decode_reply(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without the token that ended them."""
        kept = ids[:-1] if ids and ids[-1] in self.stop_token_ids else ids
        text = self.tokenizer.decode(list(kept), skip_special_tokens=False)
        assert isinstance(text, str)
        return self.opening + text

    @property
    def rewrites(self) -> bool:
        """Whether a text that is written in tokens becomes another one."""
        return bool(self.opening) or self._native is not None

    def read(self, reply: Reply, prompt: Prompt) -> Reply:
        """A reply to a prompt, with calls in medgym's form where the model has its own."""
        return reply if self._native is None else self._native.read(reply, prompt.tools)


def _key(message: Message) -> Hashable:
    """All that tokens depend on: of images, only the size counts."""
    return (message.role, message.text, *(part.size for part in message.images))


def _picture(role: str) -> ChatMessage:
    return {"role": role, "content": [{"type": "image"}, {"type": "text", "text": "seen"}]}


def _as_string(message: ChatMessage) -> ChatMessage:
    """The message with its text as a string, unless it shows images."""
    if any(part["type"] != "text" for part in message["content"]):
        return message
    return message | {"content": "".join(part["text"] for part in message["content"])}


def _dialogue() -> list[ChatMessage]:
    """The shortest conversation that ends with a reply; additions are rendered after it."""
    return [
        {"role": "user", "content": [{"type": "text", "text": "question"}]},
        {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]},
    ]
