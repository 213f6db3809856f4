"""The tokenizer of a model's folder, with the members of a transformers tokenizer that we use."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import NeedsTransformers, read_object

NAMED = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"
)  # fmt: skip
"""The special tokens that chat templates know by name."""

CLASSES = {
    "TokenizersBackend", "PreTrainedTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast",
    "Qwen3_5Tokenizer"
}  # fmt: skip
"""The classes of transformers that do what `tokenizer.json` says and no more."""


class TextTokenizer:
    """A tokenizer that is only its `tokenizer.json`.

    Attributes:
        all_special_tokens, eos_token_id: as of a tokenizer of transformers.
        special_tokens_map: the special tokens by the names that chat templates use.
        own_names: the special tokens by names that the model's family uses, such as `image_token`.

    Raises:
        NeedsTransformers: its settings ask for something beyond that file.
    """

    def __init__(self, folder: Path) -> None:
        settings = read_object(folder / "tokenizer_config.json")
        kind = settings.get("tokenizer_class")
        if kind not in CLASSES or "auto_map" in settings:
            raise NeedsTransformers(f"its tokenizer is a {str(kind)[:60]}")
        odd = ("clean_up_tokenization_spaces", "add_prefix_space", "split_special_tokens")
        if asked := [name for name in odd if settings.get(name)]:
            raise NeedsTransformers(f"its tokenizer sets {asked[0]}")
        self._core = _core(folder / "tokenizer.json")
        named = {name: _text(settings.get(name)) for name in NAMED}
        self.special_tokens_map = {name: text for name, text in named.items() if text is not None}
        specific = settings.get("model_specific_special_tokens") or {}
        own = {name: _text(token) for name, token in specific.items()}
        self.own_names = {name: text for name, text in own.items() if text is not None}
        further = [text for name in _LISTS for text in _texts(settings.get(name))]
        special = (*self.special_tokens_map.values(), *self.own_names.values(), *further)
        self.all_special_tokens = list(dict.fromkeys(special))
        declared = settings.get("added_tokens_decoder") or {}
        self._check(self.all_special_tokens, declared)
        eos = self.special_tokens_map.get("eos_token")
        self.eos_token_id = None if eos is None else self._core.token_to_id(eos)

    def _check(self, special: Sequence[str], declared: Mapping[str, Any]) -> None:
        """All that the settings declare is in the one file already."""
        added = self.added_tokens_decoder
        known = {token.content for token in added.values() if token.special}
        for text in special:
            if text not in known:
                raise NeedsTransformers(f"tokenizer.json has no special token {text[:40]!r}")
        for number, entry in declared.items():
            held = added.get(int(number)) if number.isdecimal() else None
            same = held is not None and (held.content, held.special) == (
                entry.get("content"),
                entry.get("special", False),
            )
            if not same:
                raise NeedsTransformers(f"tokenizer.json has another token {number[:12]}")

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The tokens that were added to the vocabulary, by id."""
        held: dict[int, Any] = self._core.get_added_tokens_decoder()
        return held

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """The ids of a text."""
        encoded = self._core.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": encoded.ids}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of ids."""
        text = self._core.decode(list(ids), skip_special_tokens=skip_special_tokens)
        assert isinstance(text, str)
        return text

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """The id of a token."""
        found: int | None = self._core.token_to_id(token)
        return found

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> Any:
        """The token of an id, or those of several."""
        if isinstance(ids, int):
            return self._core.id_to_token(ids)
        return [self._core.id_to_token(each) for each in ids]


_LISTS = ("extra_special_tokens", "additional_special_tokens")


def _core(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise NeedsTransformers("the library tokenizers is not installed") from error
    if not path.is_file():
        raise NeedsTransformers("it has no tokenizer.json")
    try:
        core = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise NeedsTransformers("tokenizer.json cannot be read") from error
    core.no_truncation()
    core.no_padding()
    return core


def _text(token: object) -> str | None:
    """A token as settings write it: its text, or an object with its text."""
    text = token.get("content") if isinstance(token, dict) else token
    if text is not None and not isinstance(text, str):
        raise NeedsTransformers("its tokenizer names a special token that is no text")
    return text


def _texts(tokens: object) -> Iterator[str]:
    """The tokens of a list, or the named ones of an object."""
    each = list(tokens.values()) if isinstance(tokens, dict) else tokens
    for token in each if isinstance(each, list) else ():
        if (text := _text(token)) is not None:
            yield text
