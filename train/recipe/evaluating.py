"""What `[judge]` asks of a Trainer that evaluates on held-out cases."""

from medgym.errors import UserError

from .judge import JudgeTable
from .settings import Keys

PREFIX = "eval"
"""What the Trainer puts before the names of an evaluation's figures."""

EVALUATED = f"{PREFIX}_accuracy"
"""The figure by which the best checkpoint is chosen."""


def evaluation_keys(table: JudgeTable, keys: Keys, name: str) -> Keys:
    """Keys of `transformers.TrainingArguments`; none where nothing is evaluated.

    Args:
        keys: of the table `name`, by which the policy is trained.

    Raises:
        UserError: it keeps no checkpoints among which there is a best one.
    """
    if not table.every:
        return {}
    asked: Keys = {
        "eval_strategy": "steps",
        "eval_steps": table.every,
        "per_device_eval_batch_size": int(keys.get("per_device_train_batch_size", 8)),
    }
    if not table.best:
        return asked
    strategy = keys.get("save_strategy", "steps")
    if strategy != "steps":
        raise UserError(
            f'[judge] best needs checkpoints by steps and [{name}] save_strategy is "{strategy}"; '
            "fix: remove save_strategy"
        )
    if keys.get("save_steps", table.every) % table.every:
        raise UserError(
            f"[judge] best evaluates every {table.every} steps and [{name}] save_steps is "
            f"{keys['save_steps']:g}; fix: a multiple of {table.every}"
        )
    return asked | {
        "load_best_model_at_end": True,
        "metric_for_best_model": EVALUATED,
        "greater_is_better": True,
        "restore_callback_states_from_checkpoint": bool(table.patience),
    }
