"""`[lora]` and `[sft.lora]`: the keys of `peft.LoraConfig`, and what becomes of each."""

from ..recipe.settings import Needs, Only, Settings

_BASE = (
    "it changes the weights of the base, over which the reference model, the sampler and every "
    "other adapter are read"
)
_VARIANT = "neither the engines nor the merge are tested with this variant of LoRA"
_HEAD = "TRL reads the weights of the model's head by themselves, without what PEFT lays over them"
_LIST = Needs(
    "target_modules as a list of names",
    lambda keys: isinstance(keys.get("target_modules"), list),
)

SETTINGS = Settings(
    table="lora",
    config="peft.LoraConfig",
    passed=frozenset(
        (
            "r", "lora_alpha", "lora_dropout", "bias", "target_modules", "exclude_modules",
            "use_rslora", "use_dora", "init_lora_weights", "layers_to_transform",
            "layers_pattern", "rank_pattern", "alpha_pattern",
        )
    ),
    ours={
        "peft_type": "the table's own name",
        "task_type": "the kind of model",
        "base_model_name_or_path": "[model] path",
        "revision": "[model] revision",
        "target_parameters": "[model] adapt",
        "inference_mode": "training",
        "auto_mapping": "PEFT",
        "peft_version": "PEFT",
    },
    refused={
        "modules_to_save": "no engine loads an adapter with whole modules in it",
        "trainable_token_indices": _HEAD,
        "lora_bias": "an adapter with biases cannot be merged into layers that have none",
        "ensure_weight_tying": "it is about keys that are refused",
        "fan_in_fan_out": "no vision-language model has layers of that kind",
        "megatron_config": "no model here is Megatron's",
        "megatron_core": "no model here is Megatron's",
        "layer_replication": _BASE,
        "loftq_config": _BASE,
        "corda_config": _BASE,
        "lora_ga_config": _BASE,
        "kasa_config": _BASE,
        "eva_config": "it needs activations of the data before training begins",
        "runtime_config": "it offloads an adapter to the CPU while it is unused; none is",
        **dict.fromkeys(
            (
                "velora_config", "alora_invocation_tokens", "use_qalora", "qalora_group_size",
                "monteclora_config", "use_bdlora", "arrow_config",
            ),
            _VARIANT,
        ),
    },
    only={
        "init_lora_weights": Only(
            (True, "gaussian"),
            "an adapter has to begin as nothing over an unchanged base, which the reference model, "
            "the sampler and every other adapter are read over",
        ),
        "bias": Only(("none",), "the base's own biases would learn, which all adapters share"),
    },
    needs={"layers_to_transform": _LIST, "layers_pattern": _LIST},
)  # fmt: skip
