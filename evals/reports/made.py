"""How a run was made: its command, its protocol, scorers, seeds and versions."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from medgym.errors import UserError

from .figures import cell
from .parts import Section, Table
from .run import ReportedRun

OPTIONS: Mapping[str, Any] = {
    "rubric": "outcome", "max_turns": 6, "temperature": 0.0, "max_tokens": 512, "judge": "vqa",
    "seed": 0, "limit": None, "repeats": 1, "prompt": "",
}  # fmt: skip
"""Options of `medgym eval` and their defaults. A suite sets those of its protocol itself."""

OF_SUITE = ("seed", "limit", "repeats", "prompt")

FACTS = ("status", "started", "ended", "medgym", "commit", "python", "platform", "seeds", "counts")


def how_made(runs: Sequence[ReportedRun]) -> Section:
    """What it takes to make the same figures again."""
    rows = []
    for run in runs:
        if said := command(run.asked):
            rows.append((run.name, "command", said))
        for name, value in run.asked.items():
            if not isinstance(value, Mapping) or name == "cases":
                rows.append((run.name, name, cell(value)))
        rows.append((run.name, "scorers", ", ".join(_scorers(run)) or "-"))
        manifest = run.manifest
        rows += [(run.name, name, cell(manifest[name])) for name in FACTS if name in manifest]
        if versions := manifest.get("versions"):
            rows.append((run.name, "versions", cell(versions)))
    texts = [(f"recipe.toml of {run.name}", _recipe(run)) for run in runs]
    return Section(
        "made", "How it was made", tables=[Table(("run", "what", "value"), rows)],
        texts=[(title, text) for title, text in texts if text],
    )  # fmt: skip


def command(asked: Mapping[str, Any]) -> str:
    """The command of an evaluation, made from what its recipe says; empty of another run."""
    if asked.get("command") != "eval" or "policy" not in asked:
        return ""
    suite = asked.get("suite")
    words = ["medgym", "eval", str(suite or asked.get("cases")), "--policy", str(asked["policy"])]
    if not suite:
        tools = asked.get("tools", [])
        if tools != ["zoom"]:
            words += ["--tools", ",".join(tools)] if tools else ["--no-tools"]
        if asked.get("view_size"):
            words += ["--view-size", str(asked["view_size"])]
    for name, usual in OPTIONS.items():
        value = asked.get(name, usual)
        if value not in (usual, None) and (not suite or name in OF_SUITE):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _scorers(run: ReportedRun) -> list[str]:
    used = {(each.scorer, each.version) for each in run.outcomes}
    for _, _, _, judgement in run.judgements():
        used |= set(judgement.get("scorers", {}).items())
    return [f"{name} {version}" for name, version in sorted(used)]


def _recipe(run: ReportedRun) -> str:
    try:
        return run.folder.recipe
    except UserError:
        return ""
