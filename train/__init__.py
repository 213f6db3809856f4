"""How a policy learns: recipes, the cold start, GRPO, consultations, the tiny model.

`LookingTrainer` is TRL's `GRPOTrainer` over medgym's rollouts. `trl_environment` makes medgym's
episodes available to a training script of one's own. Both are imported when they are first used, so
that this package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .environment_factory import trl_environment as trl_environment
    from .grpo.trainer import LookingTrainer as LookingTrainer

__all__ = ["LookingTrainer", "trl_environment"]

_HOMES = {"LookingTrainer": "grpo.trainer", "trl_environment": "environment_factory"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'medgym.train' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
