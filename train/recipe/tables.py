"""Which tables a training needs, and which of them would have no effect."""

from collections.abc import Mapping

from medgym.errors import UserError

from .schema import Recipe

PART_OF = {
    "lora": "grpo",
    "judge": "grpo",
    "curriculum": "grpo",
    "sight": "grpo",
    "sft": "demonstrations",
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
    if not given & {"demonstrations", "grpo", "consultation"}:
        raise UserError(
            f"{recipe.name} trains nothing: it has neither [demonstrations] nor [grpo]; fix: add "
            "[demonstrations] for SFT, [grpo] for reinforcement learning, or both"
        )
    if "consultation" in given:  # its roles are trained by GRPO, wherever their settings stand
        given.add("grpo")
    for name, other in PART_OF.items():
        if name in given and other not in given:
            fix = FIXES.get(name, f"add [{other}], or remove [{name}]")
            raise UserError(f"{recipe.name}: [{name}] has no effect without [{other}]; fix: {fix}")
    if recipe.rollout.policy is not None and "grpo" not in given:
        raise UserError(
            f"{recipe.name}: [rollout] policy has no effect without [grpo]; fix: add [grpo], or "
            "remove it"
        )


def check_steps(keys: Mapping[str, object], where: str, fix: str) -> None:
    """Make sure that a table says how long it trains, which its library would decide by itself.

    Args:
        keys: of the table. where: how the error names it. fix: in place of `max_steps = 0`.

    Raises:
        UserError: it does not, or it trains for no step.
    """
    steps, epochs = keys.get("max_steps"), keys.get("num_train_epochs")
    if steps is None and epochs is None:
        raise UserError(
            f"{where} does not say how long it trains; fix: set max_steps or num_train_epochs"
        )
    if isinstance(steps, int) and (steps == 0 or (steps < 0 and epochs is None)):
        raise UserError(f"{where}: max_steps is {steps}; fix: {fix}")
    if steps is None and isinstance(epochs, int | float) and epochs <= 0:
        raise UserError(f"{where}: num_train_epochs is {epochs}; fix: {fix}")
