"""medgym: a reinforcement-learning environment in which vision-language models learn to look.

All public names are here: what a public function takes or returns can be had from `medgym` itself.
`open_...` opens what is on a disk, `load_...` what is registered by name. Each is imported when it
is first used, so `import medgym` is light (no torch, no Ray). It registers `medgym/Phantom-v0` and
`medgym/Cases-v0` with Gymnasium.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

__version__ = "0.1.0"

_HOMES = {
    "CheckRow": "case_checks.report",
    "Case": "cases",
    "CaseKey": "cases",
    "CaseList": "cases",
    "CaseView": "cases",
    "Mask": "regions",
    "Region": "regions",
    "open_cases": "cases",
    "read_cases": "cases",
    "write_cases": "cases",
    "Role": "consultation.role",
    "load_role": "consultation.role",
    "Gold": "gold_tool",
    "MedEnv": "env",
    "make": "env",
    "Episode": "episode",
    "Rules": "episode",
    "ToolOutcome": "episode",
    "Turn": "episode",
    "RunError": "errors",
    "ToolError": "errors",
    "UserError": "errors",
    "clip_frames": "imaging.clips.sampling",
    "Picture": "imaging.lazy_image",
    "LookupTable": "imaging.grey",
    "Window": "imaging.grey",
    "ImagingStudy": "imaging.imaging_study",
    "Plane": "imaging.imaging_study",
    "ImagePlace": "imaging.opened",
    "OpenedImage": "imaging.opened",
    "Study": "imaging.rendering",
    "Slab": "imaging.slabs",
    "ImageRef": "imaging.study",
    "open_study": "imaging.study",
    "Judge": "judge",
    "Judgement": "judge",
    "RoleJudgement": "judge",
    "load_judge": "judge",
    "CallResult": "messages",
    "Calls": "messages",
    "Final": "messages",
    "ImagePart": "messages",
    "Malformed": "messages",
    "Message": "messages",
    "Reply": "messages",
    "TextPart": "messages",
    "ToolCall": "messages",
    "ToolOffer": "messages",
    "Usage": "messages",
    "Rate": "metrics.rate",
    "Policy": "policy",
    "Sampling": "policy",
    "load_policy": "policy",
    "load": "registry",
    "names": "registry",
    "Tally": "rollout",
    "Resume": "rollout.branching",
    "collect": "rollout",
    "roll_out": "rollout",
    "Rubric": "rubric",
    "Schedule": "rubric",
    "Score": "rubric",
    "Term": "rubric",
    "load_rubric": "rubric",
    "Grade": "scorer",
    "Scorer": "scorer",
    "grade": "scorer",
    "load_scorer": "scorer",
    "Source": "source",
    "cases_from_rows": "sources.own.memory",
    "image_ref": "sources.own.memory",
    "RunFolder": "storage.run_folder",
    "open_run": "storage.run_folder",
    "ImageStore": "storage.trajectories",
    "TrajectoryStore": "storage.trajectories",
    "PublishedFigure": "suite",
    "Suite": "suite",
    "load_suite": "suite",
    "Tool": "tool",
    "ToolArgs": "tool",
    "ToolResult": "tool",
    "as_tool": "tool",
    "load_tools": "tool",
    "Branch": "trajectory",
    "Fork": "trajectory",
    "ImageUse": "trajectory",
    "InvariantError": "trajectory",
    "Look": "trajectory",
    "Node": "trajectory",
    "Trajectory": "trajectory",
    "validate": "trajectory",
    "view_multiple_for": "view_sizes",
    "view_size_for": "view_sizes",
    "View": "workspace",
    "Workspace": "workspace",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are those of the table above

if TYPE_CHECKING:
    from medgym.case_checks.report import CheckRow
    from medgym.cases import (
        Case,
        CaseKey,
        CaseList,
        CaseView,
        open_cases,
        read_cases,
        write_cases,
    )
    from medgym.consultation.role import Role, load_role
    from medgym.env import MedEnv, make
    from medgym.episode import Episode, Rules, ToolOutcome, Turn
    from medgym.errors import RunError, ToolError, UserError
    from medgym.gold_tool import Gold
    from medgym.imaging.clips.sampling import clip_frames
    from medgym.imaging.grey import LookupTable, Window
    from medgym.imaging.imaging_study import ImagingStudy, Plane
    from medgym.imaging.lazy_image import Picture
    from medgym.imaging.opened import ImagePlace, OpenedImage
    from medgym.imaging.rendering import Study
    from medgym.imaging.slabs import Slab
    from medgym.imaging.study import ImageRef, open_study
    from medgym.judge import Judge, Judgement, RoleJudgement, load_judge
    from medgym.messages import (
        CallResult,
        Calls,
        Final,
        ImagePart,
        Malformed,
        Message,
        Reply,
        TextPart,
        ToolCall,
        ToolOffer,
        Usage,
    )
    from medgym.metrics.rate import Rate
    from medgym.policy import Policy, Sampling, load_policy
    from medgym.regions import Mask, Region
    from medgym.registry import load, names
    from medgym.rollout import Tally, collect, roll_out
    from medgym.rollout.branching import Resume
    from medgym.rubric import Rubric, Schedule, Score, Term, load_rubric
    from medgym.scorer import Grade, Scorer, grade, load_scorer
    from medgym.source import Source
    from medgym.sources.own.memory import cases_from_rows, image_ref
    from medgym.storage.run_folder import RunFolder, open_run
    from medgym.storage.trajectories import ImageStore, TrajectoryStore
    from medgym.suite import PublishedFigure, Suite, load_suite
    from medgym.tool import Tool, ToolArgs, ToolResult, as_tool, load_tools
    from medgym.trajectory import (
        Branch,
        Fork,
        ImageUse,
        InvariantError,
        Look,
        Node,
        Trajectory,
        validate,
    )
    from medgym.view_sizes import view_multiple_for, view_size_for
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
