"""medgym: a reinforcement-learning environment in which vision-language models learn to look.

The public names stand here and are imported when they are first used, so that `import medgym` is
light (no torch, no Ray); it registers `medgym/Phantom-v0` and `medgym/Cases-v0` with Gymnasium.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

__version__ = "0.1.0"

_HOMES = {
    "Case": "cases",
    "CaseView": "cases",
    "Region": "cases",
    "open_cases": "cases",
    "MedEnv": "env",
    "make": "env",
    "RunError": "errors",
    "UserError": "errors",
    "ImageRef": "imaging.study",
    "Study": "imaging.study",
    "Message": "messages",
    "Reply": "messages",
    "ToolCall": "messages",
    "Policy": "policy",
    "Sampling": "policy",
    "load_policy": "policy",
    "load": "registry",
    "names": "registry",
    "collect": "rollout",
    "open_run": "storage.run_folder",
    "Rubric": "rubric",
    "Schedule": "rubric",
    "Score": "rubric",
    "Term": "rubric",
    "Source": "source",
    "Tool": "tool",
    "ToolArgs": "tool",
    "ToolError": "tool",
    "ToolResult": "tool",
    "tool": "tool",
    "Trajectory": "trajectory",
    "validate": "trajectory",
    "View": "workspace",
    "Workspace": "workspace",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are those of the table above

if TYPE_CHECKING:
    from medgym.cases import Case, CaseView, Region, open_cases
    from medgym.env import MedEnv, make
    from medgym.errors import RunError, UserError
    from medgym.imaging.study import ImageRef, Study
    from medgym.messages import Message, Reply, ToolCall
    from medgym.policy import Policy, Sampling, load_policy
    from medgym.registry import load, names
    from medgym.rollout import collect
    from medgym.rubric import Rubric, Schedule, Score, Term
    from medgym.source import Source
    from medgym.storage.run_folder import open_run
    from medgym.tool import Tool, ToolArgs, ToolError, ToolResult, tool
    from medgym.trajectory import Trajectory, validate
    from medgym.workspace import View, Workspace

gymnasium.register(
    "medgym/Phantom-v0", entry_point="medgym.env:MedEnv", kwargs={"cases": "phantom:train"}
)
gymnasium.register("medgym/Cases-v0", entry_point="medgym.env:MedEnv")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medgym' has no attribute {name!r}")
    home = import_module(f"medgym.{_HOMES[name]}")
    # `medgym.tool` is the module, whoever comes first, and the module can be called.
    value = home if _HOMES[name] == name else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
