"""medgym: a reinforcement-learning environment in which vision-language models learn to look.

The public names stand here and are imported when they are first used, so that `import medgym` is
light (no torch, no Ray); it registers `medgym/Phantom-v0` and `medgym/Cases-v0` with Gymnasium.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

__version__ = "0.1.0"

_HOMES = {
    "Answer": "cases",
    "Case": "cases",
    "CaseList": "cases",
    "CaseView": "cases",
    "Region": "cases",
    "open_cases": "cases",
    "read_cases": "cases",
    "write_cases": "cases",
    "MedEnv": "env",
    "make": "env",
    "Episode": "episode",
    "Rules": "episode",
    "Turn": "episode",
    "RunError": "errors",
    "ToolError": "errors",
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
    "roll_out": "rollout",
    "Rubric": "rubric",
    "Schedule": "rubric",
    "Score": "rubric",
    "Term": "rubric",
    "load_rubric": "rubric",
    "Source": "source",
    "RunFolder": "storage.run_folder",
    "open_run": "storage.run_folder",
    "Tool": "tool",
    "ToolArgs": "tool",
    "ToolResult": "tool",
    "as_tool": "tool",
    "load_tools": "tool",
    "Trajectory": "trajectory",
    "validate": "trajectory",
    "View": "workspace",
    "Workspace": "workspace",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are those of the table above

if TYPE_CHECKING:
    from medgym.cases import (
        Answer,
        Case,
        CaseList,
        CaseView,
        Region,
        open_cases,
        read_cases,
        write_cases,
    )
    from medgym.env import MedEnv, make
    from medgym.episode import Episode, Rules, Turn
    from medgym.errors import RunError, ToolError, UserError
    from medgym.imaging.study import ImageRef, Study
    from medgym.messages import Message, Reply, ToolCall
    from medgym.policy import Policy, Sampling, load_policy
    from medgym.registry import load, names
    from medgym.rollout import collect, roll_out
    from medgym.rubric import Rubric, Schedule, Score, Term, load_rubric
    from medgym.source import Source
    from medgym.storage.run_folder import RunFolder, open_run
    from medgym.tool import Tool, ToolArgs, ToolResult, as_tool, load_tools
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
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
