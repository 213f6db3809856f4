"""Which tables a training needs, and which of them would have no effect."""

from medgym.errors import UserError

from .schema import Recipe

PART_OF = {
    "lora": "grpo",
    "judge": "grpo",
    "curriculum": "grpo",
    "sight": "grpo",
    "sft": "demonstrations",
    "pairs": "dpo",
    "roles": "consultation",
    "marl": "consultation",
}
"""Tables that have an effect only beside another one."""

FIXES = {"lora": "write [sft.lora], or add [grpo]"}
"""What is probably meant by a table without the one that it belongs to."""


def check_tables(recipe: Recipe) -> None:
    """Make sure that a recipe trains something, and that each of its tables has an effect.

    Raises:
        UserError: it does not, or a table has none.
    """
    given = {name for name in recipe.model_fields_set if getattr(recipe, name) is not None}
    if "grpo" in given and not recipe.grpo and recipe.consultation is None:
        raise UserError(f"{recipe.name}: [grpo] is empty; fix: set max_steps, or remove it")
    if "lora" in given and not recipe.lora:
        raise UserError(
            f"{recipe.name}: [lora] is empty, so the whole model would learn; fix: set r, or "
            "remove [lora]"
        )
    for name in ("judge", "curriculum"):
        if name in given and not getattr(recipe, name).model_fields_set:
            raise UserError(f"{recipe.name}: [{name}] is empty; fix: set a key of it, or remove it")
    if not given & {"demonstrations", "grpo", "consultation"}:
        raise UserError(
            f"{recipe.name} trains nothing: it has neither [demonstrations] nor [grpo]; fix: add "
            "[demonstrations] for SFT, [grpo] for reinforcement learning, or both"
        )
    if "consultation" in given:  # its roles are trained by GRPO, wherever their settings stand
        given.add("grpo")
    if "grpo" in given and recipe.cases.train is None:
        raise UserError(
            f"{recipe.name}: [cases] has no train; fix: name the cases that are trained on"
        )
    for name, other in PART_OF.items():
        if name in given and other not in given:
            fix = FIXES.get(name, f"add [{other}], or remove [{name}]")
            raise UserError(f"{recipe.name}: [{name}] has no effect without [{other}]; fix: {fix}")
    if recipe.rollout.policy is not None and "grpo" not in given:
        raise UserError(
            f"{recipe.name}: [rollout] policy has no effect without [grpo]; fix: add [grpo], or "
            "remove it"
        )
