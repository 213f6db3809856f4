"""A byte-level tokenizer with a family's special tokens, and what tiny language models share."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    # With the customary 0.02 so narrow a model says the same whatever it is shown.
    "initializer_range": 0.2,
}


def byte_tokenizer(special: Sequence[str], names: Mapping[str, str], eos: str, pad: str) -> Any:
    """A byte-level tokenizer with a family's special tokens, first in the vocabulary."""
    vocabulary = {token: number for number, token in enumerate(special)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in _TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=eos,
        pad_token=pad,
        bos_token="<bos>" if "<bos>" in special else None,
        additional_special_tokens=[t for t in special if t not in (eos, pad)],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_specific_special_tokens=dict(names),
    )
