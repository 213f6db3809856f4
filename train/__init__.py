"""How a policy learns: the tiny model, supervised cold start, GRPO, recipes.

`trl_environment` lends medgym's episodes to a training script of one's own; it is imported when it
is first used, for this package must not import torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .environment_factory import trl_environment as trl_environment

__all__ = ["trl_environment"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import environment_factory

        return getattr(environment_factory, name)
    raise AttributeError(f"module 'medgym.train' has no attribute {name!r}")
