"""From a conversation to the tokens that a model is given, append-only.

The first prompt comes from the model's chat template. Every later turn adds tokens to those already
held: the reply exactly as it was sampled, then the template's rendering of the new message alone.
Nothing is rendered or tokenised twice, so nothing can drift between turns.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from medgym.errors import UserError
from medgym.messages import Message

_VISION = re.compile(r"vision|image|video|img|soft_token", re.IGNORECASE)
_TAGS = {f"<{end}{tag}>" for end in ("", "/") for tag in ("think", "tool_call", "answer")}
_PROBE = "reply"
_REMEMBERED = 1_000


@dataclass(frozen=True)
class Prompt:
    """What a sampler is given: all token ids, and the images that have placeholders among them."""

    ids: tuple[int, ...]
    images: tuple[Image.Image, ...]
    image_tokens: tuple[int, ...]


class Renderer:
    """Renders conversations for one processor (any transformers vision-language processor).

    Attributes:
        image_token_id: the placeholder that stands for one image feature.
        vision_token_ids: every special token that stands for images, the placeholder first.
        eos_token_id: the token that ends a reply.
        tool_role: the role under which tools' images are shown: `tool` where the chat template
            places images there, else `user`.

    Raises:
        UserError: no vision-language processor, or its chat template is missing, shows no images,
            drops an assistant's text or rewrites earlier turns.
    """

    def __init__(self, processor: Any) -> None:
        if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
            raise UserError(
                "the model reads no images; mend: choose a vision-language model with a processor"
            )
        self.processor = processor
        self.tokenizer = processor.tokenizer
        if not getattr(processor, "chat_template", None):
            raise UserError(
                "the model's processor has no chat template; mend: choose an instruction-tuned "
                "model"
            )
        self._image_token = str(processor.image_token)
        self.image_token_id = self._id(self._image_token)
        special = set(self.tokenizer.all_special_tokens)
        special |= {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        self._vision = {t for t in special if _VISION.search(t)} | {self._image_token}
        vision = {self._id(token) for token in self._vision}
        self.vision_token_ids = (self.image_token_id, *sorted(vision - {self.image_token_id}))
        names = sorted((special | self._vision) - _TAGS, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)))
        try:
            self._after_reply = self._find_end_of_reply()
            self.eos_token_id = self._find_end_token(special)
            self.tool_role = "tool" if self._tool_shows_images() else "user"
            self._added([{"role": self.tool_role, "content": [{"type": "text", "text": "seen"}]}])
            shows = self._shows_image(self._template([_picture("user")], generate=True))
        except UserError:
            raise
        except Exception as error:  # templates raise what they like
            raise UserError(
                f"the model's chat template cannot write a conversation ({error}); mend: choose a "
                "model with a template for images"
            ) from error
        if not shows:
            raise UserError(
                "the model's chat template shows no images; mend: choose a vision-language model"
            )
        self._encoded: dict[Any, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def _id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))

    def _template(self, messages: Sequence[dict[str, Any]], *, generate: bool) -> str:
        text = self.processor.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=generate
        )
        assert isinstance(text, str)
        return text

    def _find_end_of_reply(self) -> str:
        """What the template writes after a reply's text, as `<|im_end|>` and a new line."""
        text = self._template(_dialogue(), generate=False)
        if _PROBE not in text:
            raise UserError("the model's chat template drops the assistant's text; mend: another")
        return text[text.rindex(_PROBE) + len(_PROBE) :]

    def _find_end_token(self, special: set[str]) -> int:
        """The special token with which the template ends a reply, else the tokenizer's own."""
        first = self.tokenizer(self._after_reply, add_special_tokens=False)["input_ids"][:1]
        if first and self.tokenizer.convert_ids_to_tokens(first[0]) in special:
            return int(first[0])
        if self.tokenizer.eos_token_id is None:
            raise UserError("the model has no token that ends a reply; mend: choose another model")
        return int(self.tokenizer.eos_token_id)

    def _tool_shows_images(self) -> bool:
        try:
            return self._shows_image(self._added([_picture("tool")]))
        except Exception:  # as they do on a role that they do not know
            return False

    def _shows_image(self, text: str) -> bool:
        return any(token in text for token in self._vision) and "seen" in text

    def _added(self, messages: Sequence[dict[str, Any]]) -> str:
        """What the template writes for messages after a reply, up to the next one."""
        head = self._template(_dialogue(), generate=False)
        whole = self._template([*_dialogue(), *messages], generate=True)
        if not whole.startswith(head):
            raise UserError(
                "the model's chat template rewrites earlier turns; mend: choose a model whose "
                "template keeps them, or pass a training template"
            )
        return whole[len(head) :]

    def prompt(self, conversation: Sequence[Message]) -> Prompt:
        """All tokens up to the next reply.

        The last reply's held tokens are continued; where the conversation has no tokens yet, or its
        replies came without them, it is rendered from the start.
        """
        images = tuple(part.image for message in conversation for part in message.images)
        last = max((i for i, m in enumerate(conversation) if m.reply is not None), default=-1)
        reply = conversation[last].reply if last >= 0 else None
        if reply is None or reply.prompt_ids is None or reply.token_ids is None:
            ids, sizes = self._remember(
                ("start", *map(_key, conversation)),
                lambda: self._template([self._chat(m) for m in conversation], generate=True),
                images,
            )
            return Prompt(ids, images, sizes)
        ended = reply.token_ids[-1:] == (self.eos_token_id,)
        ids, sizes = self._addition(conversation[last + 1 :], ended)
        held = reply.prompt_ids + reply.token_ids
        return Prompt(held + ids, images, reply.image_tokens + sizes)

    def _addition(
        self, messages: Sequence[Message], ended: bool
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        def text() -> str:
            end = self._after_reply
            if ended:
                end = end.removeprefix(self.tokenizer.decode([self.eos_token_id]))
            return end + self._added([self._chat(m) for m in messages])

        images = [part.image for message in messages for part in message.images]
        return self._remember((ended, *map(_key, messages)), text, images)

    def _remember(
        self, key: Any, text: Callable[[], str], images: Sequence[Image.Image]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Encode what the members of a group, and many turns, have in common once."""
        if key not in self._encoded:
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            self._encoded[key] = self._encode(text(), images)
        return self._encoded[key]

    def _chat(self, message: Message) -> dict[str, Any]:
        chat = message.chat()
        if chat["role"] == "tool":
            chat["role"] = self.tool_role
        for part in chat["content"]:
            if part["type"] == "text":
                part["text"] = self._plain(part["text"])
        return chat

    def _plain(self, text: str) -> str:
        """Text in which nothing spells a special token: a policy may write `<|image_pad|>` letter
        by letter, and an error that quotes it would be read as an image that is not there."""
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _encode(
        self, text: str, images: Sequence[Image.Image]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not images:
            return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]), ()
        inputs = self.processor(text=[text], images=[list(images)], add_special_tokens=False)
        return tuple(map(int, inputs["input_ids"][0])), self.count_features(images)

    def count_features(self, images: Sequence[Image.Image]) -> tuple[int, ...]:
        """How many features the image processor makes of each image: counted from its sizes, not
        from the placeholders in the text, so that the two can be held against each other."""
        sizes = [(image.height, image.width) for image in images]
        counts = self.processor._get_num_multimodal_tokens(image_sizes=sizes)
        return tuple(int(n) for n in counts["num_image_tokens"])

    def encode_reply(self, text: str) -> tuple[int, ...]:
        """The tokens of a reply that was written, not sampled, with its end."""
        ids = self.tokenizer(self._plain(text), add_special_tokens=False)["input_ids"]
        return (*map(int, ids), self.eos_token_id)

    def decode_reply(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without the end token."""
        kept = ids[:-1] if ids and ids[-1] == self.eos_token_id else ids
        text = self.tokenizer.decode(list(kept), skip_special_tokens=False)
        assert isinstance(text, str)
        return text


def _key(message: Message) -> tuple[Any, ...]:
    """All that tokens depend on: images count by their size alone."""
    return (message.role, message.text, *(part.image.size for part in message.images))


def _picture(role: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "image"}, {"type": "text", "text": "seen"}]}


def _dialogue() -> list[dict[str, Any]]:
    """The least conversation that ends with a reply: what additions are rendered after."""
    return [
        {"role": "user", "content": [{"type": "text", "text": "question"}]},
        {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]},
    ]
