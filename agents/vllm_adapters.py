"""Which LoRA adapters vLLM loads, as far as their settings say: asked before anything trains.

vLLM itself refuses an adapter when it is first published, after the base and the cold start were
paid for; what it takes and leaves out (the vision tower) it never mentions.
"""

from collections.abc import Collection, Mapping
from typing import Any

from medgym.errors import UserError

SIGHT = {"vision", "projector"}
"""The parts of a model whose adapters vLLM ignores."""


def check_lora(
    engine: str, lora: Mapping[str, Any], parts: Collection[str], max_rank: int | None = None
) -> None:
    """Refuse settings whose adapters vLLM does not load, or only in part.

    Args:
        engine: as the user wrote it. lora: keys of `peft.LoraConfig`.
        parts: of the model that are adapted. max_rank: of the engine, where it is known.

    Raises:
        UserError: such a setting.
    """
    sees = sorted(SIGHT & set(parts))
    if sees and not {"target_modules", "target_parameters"} & lora.keys():
        raise UserError(
            f"{engine} would ignore the adapter of the {' and the '.join(sees)}; fix: [model] "
            'adapt = ["language"], or remove [rollout] policy'
        )
    if lora.get("use_dora"):
        raise UserError(
            f"{engine} loads no adapter with [lora] use_dora; fix: remove use_dora, or [rollout] "
            "policy"
        )
    ranks = [int(lora.get("r", 8)), *map(int, (lora.get("rank_pattern") or {}).values())]
    if max_rank is not None and max(ranks) > max_rank:
        raise UserError(
            f"{engine} loads adapters up to rank {max_rank}, and [lora] asks for {max(ranks)}; "
            f"fix: ?max_lora_rank={max(ranks)}, or a smaller r"
        )
