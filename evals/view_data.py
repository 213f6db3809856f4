"""What the page of `medgym view` shows, as plain data: groups of episodes, their parts and turns.

Episodes of one case that were drawn together are a group. Texts that come again (instructions,
questions) stand once in a list and are named by their place in it. An image is named by its hash
where the run has kept it, else it is None. Gold is here: the page is for whoever studies the run.
"""

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgym.cases import Case, CaseList, open_cases
from medgym.errors import UserError
from medgym.images import open_image
from medgym.progress import Advance
from medgym.runs import RunFolder
from medgym.store import ImageStore, TrajectoryStore
from medgym.trajectory import Node, Trajectory

from .view_tokens import Pieces

ASKED = ("command", "policy", "cases", "tools", "rubric", "group_size", "temperature", "seed")
"""What the head of the page repeats of a recipe, in this order."""


def stores_of(folder: RunFolder) -> dict[str, TrajectoryStore]:
    """All stores of trajectories in a run's folder, by their path in it: what it played, and of a
    training what it trained on, what it was advised, what it was judged by."""
    found = sorted({path.parent for path in folder.path.rglob("part-*.parquet")})
    return {path.relative_to(folder.path).as_posix(): TrajectoryStore(path) for path in found}


def facts_of(folder: RunFolder) -> list[tuple[str, str]]:
    """The head of the page: what was asked, with what, and whether it is done."""
    asked, manifest = _recipe(folder), folder.manifest
    told = [(name, asked[name]) for name in ASKED if not isinstance(asked.get(name), dict | None)]
    told += [("cases", asked["cases"])] if isinstance(asked.get("cases"), dict) else []
    told += [("recipe", asked["name"])] if "name" in asked else []
    told += [(name, manifest[name]) for name in ("status", "started", "medgym", "commit")]
    return [(name, _plain(value)) for name, value in told if value is not None]


def _recipe(folder: RunFolder) -> dict[str, Any]:
    try:
        return tomllib.loads(folder.recipe)
    except (OSError, tomllib.TOMLDecodeError):  # the page shows what was played all the same
        return {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def episodes_of(folder: RunFolder, store: TrajectoryStore, advance: Advance) -> dict[str, Any]:
    """One store's groups, in the order in which they were first played; its cases and texts.

    `advance` is told of each episode. `images` is where the store's images lie, seen from the page.
    """
    # Opinions and curricula are runs of their own inside a training's, with their own images.
    home = next(path for path in store.path.parents if (path / "manifest.json").is_file())
    told = _Telling(folder, ImageStore(home / "images"))
    groups: dict[tuple[int, str], dict[str, Any]] = {}
    for trajectory in store:
        key = (trajectory.seed, trajectory.case_id)
        group = groups.setdefault(key, {"case": trajectory.case_id, "episodes": []})
        group["episodes"].append(told.episode(trajectory))
        advance()
    for group in groups.values():
        group["episodes"].sort(key=lambda episode: episode["member"])
    cases = {case_id: told.case(case_id) for _, case_id in groups}
    return {
        "groups": list(groups.values()),
        "cases": cases,
        "texts": list(told.texts),
        "images": (Path("..") / home.relative_to(folder.path) / "images").as_posix(),
    }


class _Telling:
    """Trajectories of one run as plain data."""

    def __init__(self, folder: RunFolder, images: ImageStore) -> None:
        self._images = images
        self._pieces = Pieces(folder.path)
        self._cases = _sources(_recipe(folder))
        self.texts: dict[str, int] = {}

    def episode(self, trajectory: Trajectory) -> dict[str, Any]:
        """One column of the page."""
        parts = [self._part(role, part) for role, part in trajectory.parts()]
        for part, branch in zip(parts, trajectory.branches, strict=False):  # of one policy, none
            part |= {"round": branch.round, "seconds": branch.seconds}
        return {"member": trajectory.member, "parts": parts} | _outcome(trajectory)

    def _part(self, role: str, part: Trajectory) -> dict[str, Any]:
        turns = [self._turn(node, part) for node in part.nodes]
        who = {"role": role, "policy": part.policy, "version": part.version}
        return who | _outcome(part) | {"tokens": part.tokens, "turns": turns}

    def _turn(self, node: Node, part: Trajectory) -> dict[str, Any]:
        told: dict[str, Any] = {
            "role": node.role,
            "text": self.texts.setdefault(node.text, len(self.texts)),
            "images": [
                [use.view, use.sha256 if self._images.has(use.sha256) else None]
                for use in node.images
            ],
        }
        if node.logprobs and (pieces := self._pieces.of(part.policy, node)):
            told["pieces"] = pieces
        return told

    def case(self, case_id: str) -> dict[str, Any] | None:
        """A case's gold and the sizes of its images; None where the run does not lead to it."""
        for cases in self._cases:
            with suppress(UserError):  # it is none of these
                return _case(cases.find(case_id))
        return None


def _sources(recipe: Mapping[str, Any]) -> list[CaseList]:
    """The cases that a run was asked to play, as far as they are there."""
    given = recipe.get("cases")
    asked = [given] if isinstance(given, str) else []
    if isinstance(given, Mapping):
        asked = [given[split] for split in ("train", "test") if split in given]
    found = []
    for spec in asked:
        with suppress(UserError):
            found.append(open_cases(spec))
    return found


def _case(case: Case) -> dict[str, Any]:
    sizes: list[tuple[int, int]] = []
    with suppress(UserError):  # images that are gone leave the words
        sizes = [open_image(ref).size for ref in case.images]
    regions = [
        {
            "label": region.label,
            "image": region.image,
            "box": region.box_px,
            "runs": region.mask.counts if region.mask is not None else None,
        }
        for region in case.regions
    ]
    return {
        "question": case.question,
        "options": case.options,
        "answer": case.answer,
        "specialty": case.specialty,
        "sizes": sizes,
        "regions": regions,
    }


def _outcome(played: Trajectory) -> dict[str, Any]:
    return {
        "answer": played.answer,
        "correct": played.correct,
        "reward": played.reward,
        "terms": dict(played.terms or {}),
        "truncated": played.truncated,
        "faults": list(played.faults),
        "failure": played.failure,
        "looks": [{"tool": k.tool, "image": k.image, "box": k.box_px} for k in played.looks],
    }
