"""Which tables a training needs, and which of them would have no effect."""

from medgym.errors import UserError

from .schema import Recipe

PART_OF = {
    "lora": ("grpo", "dpo", "kto"),
    "judge": ("grpo", "dpo"),
    "curriculum": ("grpo",),
    "sight": ("grpo", "dpo", "kto"),
    "pairs": ("dpo", "kto"),
    "sft": ("demonstrations",),
    "roles": ("consultation",),
    "marl": ("consultation",),
}
"""Tables that have an effect only beside another one, or beside one of two."""

FIXES = {"lora": "write [sft.lora], or add one of them"}
"""What is probably meant by a table without the one that it belongs to."""


def check_tables(recipe: Recipe) -> None:
    """Make sure that a recipe trains something, and that each of its tables has an effect.

    Raises:
        UserError: it does not, or a table has none.
    """
    given = {name for name in recipe.model_fields_set if getattr(recipe, name) is not None}
    if "grpo" in given and not recipe.grpo and recipe.consultation is None:
        raise UserError(f"{recipe.name}: [grpo] is empty; fix: set max_steps, or remove it")
    for name in sorted(given & {"dpo", "kto"}):
        if not getattr(recipe, name):
            raise UserError(f"{recipe.name}: [{name}] is empty; fix: set max_steps, or remove it")
        if "consultation" in given:
            raise UserError(
                f"{recipe.name}: the roles of a [consultation] are trained by GRPO only; fix: "
                f"remove [{name}]"
            )
    if "lora" in given and not recipe.lora:
        raise UserError(
            f"{recipe.name}: [lora] is empty, so the whole model would learn; fix: set r, or "
            "remove [lora]"
        )
    for name in ("judge", "curriculum"):
        if name in given and not getattr(recipe, name).model_fields_set:
            raise UserError(f"{recipe.name}: [{name}] is empty; fix: set a key of it, or remove it")
    if not given & {"demonstrations", "grpo", "dpo", "kto", "consultation"}:
        raise UserError(
            f"{recipe.name} trains nothing: it has neither [demonstrations] nor [grpo] nor [dpo]; "
            "fix: add [demonstrations] for SFT, [grpo] for reinforcement learning, [dpo] for "
            "preferences, or several of them"
        )
    if "consultation" in given:  # its roles are trained by GRPO, wherever their settings stand
        given.add("grpo")
    if given & {"grpo", "dpo", "kto"} and recipe.cases.train is None:
        raise UserError(
            f"{recipe.name}: [cases] has no train; fix: name the cases that are trained on"
        )
    for name, others in PART_OF.items():
        if name in given and not given & set(others):
            fix = FIXES.get(name, f"add [{others[0]}], or remove [{name}]")
            needed = " or ".join(f"[{other}]" for other in others)
            raise UserError(f"{recipe.name}: [{name}] has no effect without {needed}; fix: {fix}")
    stored = recipe.pairs.folder is not None or recipe.pairs.run is not None
    plays = {"grpo"} if stored else {"grpo", "dpo", "kto"}
    if recipe.rollout.policy is not None and not given & plays:
        beside = " or a [dpo] whose policy plays" if "dpo" in given else ""
        raise UserError(
            f"{recipe.name}: [rollout] policy has no effect without [grpo]{beside}; fix: add "
            "[grpo], or remove it"
        )
