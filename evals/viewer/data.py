"""What the page of `medgym view` shows, as plain data: groups of episodes, their parts and turns.

Episodes of one case that were rolled out together are a group. Each text (instructions, questions)
is held once, in a list, and turns name it by its place there. An image is named by its hash where
the run has kept it, else it is None. Gold is here: the page is for people who study the run.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgym.case_notes import note_lines
from medgym.cases import Case, CaseList, case_hash, open_cases
from medgym.consultation.opinions import triage_case
from medgym.errors import UserError
from medgym.imaging.imaging_study import IMAGE
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.metrics.regions import placed
from medgym.progress import Advance
from medgym.storage.layout import SET_ASIDE
from medgym.storage.pair_rows import (
    CASES,
    PAIRS,
    SIDES,
    episodes_reader,
    is_pair_folder,
    read_pair_rows,
)
from medgym.storage.plain import plain
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.trajectory import Look, Node, Trajectory

from .slices import Looked
from .tokens import Pieces

ASKED = (
    "command", "suite", "policy", "cases", "tools", "rubric", "group_size", "temperature", "seed",
)  # fmt: skip
"""What the head of the page shows of what was asked, in this order."""

SPLITS = ("train", "test")
"""The cases of a training that the page shows."""

TRAINED = ("judged/grpo", "judged/attending", "trajectories/grpo", "trajectories/grpo-attending")
"""Stores of a trained policy's episodes: the page opens at the first of these that a run has."""


def stores_of(folder: RunFolder) -> dict[str, TrajectoryStore]:
    """All stores of trajectories in a run's folder, by their path in it.

    Of a training these are the episodes of its rollouts, of its opinions and of its judging.
    """
    found = sorted({path.parent for path in folder.path.rglob("part-*.parquet")})
    inside = [path.relative_to(folder.path) for path in found]
    return {
        path.as_posix(): TrajectoryStore(folder.path / path)
        for path in inside
        if SET_ASIDE not in path.parts
    }


def opened_first(names: Sequence[str]) -> str:
    """The store at which the page opens: pairs, a trained policy's, else the first."""
    return next((name for name in (PAIRS, *TRAINED) if name in names), names[0])


def label_of(folder: RunFolder, name: str) -> str:
    """A store's name as people read it; a store of opinions says whose they are."""
    run = folder.path / Path(name).parent
    if run == folder.path or not (run / "manifest.json").is_file():
        return name
    asked = _asked(RunFolder(run))
    whose = asked.get("panel") or asked.get("policy")
    return f"{name} ({whose})" if whose else name


class PageData:
    """A run's episodes, store by store. A case that several stores show is opened once.

    Attributes:
        asked: what the run was asked to do.
        volumes: the cases so far of which an image is one of many, and what was looked at of each.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._pieces = Pieces(folder.path)
        self.asked = _asked(folder)
        own = str(folder.path / CASES) if is_pair_folder(folder.path) else None
        self._sources = _sources({"cases": own} if own else self.asked)
        self._cases: dict[str, tuple[Case, dict[str, Any]] | None] = {}
        self.volumes: dict[str, tuple[Case, Looked]] = {}

    def facts(self) -> list[tuple[str, str]]:
        """The head of the page: what was asked, which versions ran it, and whether it is done."""
        asked, manifest = self.asked, self._folder.manifest
        found = [("recipe", asked.get("name"))]
        found += [(name, value) for name in ASKED if not isinstance(value := asked.get(name), dict)]
        if isinstance(cases := asked.get("cases"), dict):
            found += [(f"cases, {name}", cases.get(name)) for name in _shown(cases)]
        found += [("status", self._folder.status)]
        found += [(name, manifest.get(name)) for name in ("started", "medgym", "commit")]
        # An episode that failed for good is in no store.
        found += [("failed", len(manifest.get("failed") or ()) or None)]
        if unreadable := manifest.get("unreadable"):
            found += [("unreadable cases", f"{unreadable['count']} of {unreadable['of']}")]
        found += [("note", line.removeprefix("note on ")) for line in note_lines(manifest)]
        return [
            (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            for name, value in found
            if value is not None
        ]

    def store(self, store: TrajectoryStore, advance: Advance) -> dict[str, Any]:
        """One store's groups, in the order of their first episodes; its cases and its texts.

        `advance` is called for each episode. `images` is the path from the page to the store's
        images.
        """
        # Opinions and curricula are runs of their own inside a training's, with their own images.
        homes = (path for path in store.path.parents if (path / "manifest.json").is_file())
        home = next(homes, self._folder.path)
        episodes = _Episodes(ImageStore(home / "images"), self._pieces)
        groups: dict[tuple[int, str], dict[str, Any]] = {}
        cases: dict[str, dict[str, Any] | None] = {}
        for trajectory in store:
            key = (trajectory.seed, trajectory.case_id)
            group = groups.setdefault(key, {"case": trajectory.case_id, "episodes": []})
            group["episodes"].append(episodes.of(trajectory))
            cases[trajectory.case_id] = self._case(trajectory)
            advance()
        for group in groups.values():
            group["episodes"].sort(key=lambda episode: episode["member"])
        return {
            "groups": list(groups.values()),
            "cases": cases,
            "texts": list(episodes.texts),
            "images": (Path("..") / home.relative_to(self._folder.path) / "images").as_posix(),
        }

    def pairs(self, advance: Advance) -> dict[str, Any]:
        """The pairs of a folder of pairs, as `store` has groups: each of two episodes, the chosen
        one first, with why it is a pair. `advance` is called for each."""
        path = self._folder.path
        episodes = _Episodes(self._folder.images, self._pieces)
        groups, cases = [], {}
        both = episodes_reader(path)
        for row in read_pair_rows(path):
            shown = []
            for side, trajectory in zip(SIDES, both(row), strict=True):
                shown.append(episodes.of(trajectory) | {"side": side})
                cases[trajectory.case_id] = self._case(trajectory)
            about = {
                name: row.get(name) for name in ("builder", "why", "score", "margin", "shared")
            }
            groups.append({"case": row.get("case"), "episodes": shown, "pair": about})
            advance()
        texts = list(episodes.texts)
        return {"groups": groups, "cases": cases, "texts": texts, "images": "../images"}

    def _case(self, trajectory: Trajectory) -> dict[str, Any] | None:
        """A case's gold and the sizes of its images; None where the case cannot be found, or has
        changed since it was played."""
        case_id = trajectory.case_id
        if case_id not in self._cases:
            self._cases[case_id] = None
            for cases in self._sources:
                with suppress(UserError):  # it is not among these
                    case = cases.find(case_id)
                    self._cases[case_id] = case, _case(case)
                    break
        found = self._cases[case_id]
        if found is None or not self._was_played(found[0], trajectory):
            return None
        if found[1]["volumes"]:
            _, looked = self.volumes.setdefault(case_id, (found[0], {}))
            for _, part in trajectory.parts():
                for look in part.looks:
                    looked.setdefault((look.image, look.plane), set()).add(look.index)
        return found[1]

    def _was_played(self, case: Case, trajectory: Trajectory) -> bool:
        """Whether a case is the one of an episode. Episodes of older runs do not say it."""
        if trajectory.case_hash in ("", case_hash(case)):
            return True
        triage = triage_case(case, trajectory.options).model_copy(
            update={"question": trajectory.question}
        )
        if trajectory.case_hash == case_hash(triage):
            return True
        # In a training, an attending was asked the case with opinions in its context.
        played = trajectory.question, trajectory.options, trajectory.gold
        asked = case.question, case.options, case.answer
        return "command" not in self.asked and played == asked


class _Episodes:
    """The episodes of one store, which share their texts."""

    def __init__(self, images: ImageStore, pieces: Pieces) -> None:
        self._images = images
        self._pieces = pieces
        self.texts: dict[str, int] = {}

    def of(self, trajectory: Trajectory) -> dict[str, Any]:
        parts = [self._part(role, part) for role, part in trajectory.parts()]
        # A single policy has no branches.
        for part, branch in zip(parts, trajectory.branches, strict=False):
            part |= {"round": branch.round, "seconds": branch.seconds}
        return {"member": trajectory.member, "parts": parts} | _outcome(trajectory)

    def _part(self, role: str, part: Trajectory) -> dict[str, Any]:
        turns = [self._turn(node, part) for node in part.nodes]
        who = {"role": role, "policy": part.policy, "version": part.version}
        return who | _outcome(part) | {"tokens": part.tokens, "turns": turns}

    def _turn(self, node: Node, part: Trajectory) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "role": node.role,
            "text": self.texts.setdefault(node.text, len(self.texts)),
            "images": [
                [use.view, use.sha256 if self._images.has(use.sha256) else None]
                for use in node.images
            ],
        }
        if node.logprobs and (pieces := self._pieces.of(part.policy, node)):
            shown["pieces"] = pieces
        return shown


def _asked(folder: RunFolder) -> dict[str, Any]:
    """What a run was asked. Of a training: the recipe in its manifest, with what was overridden."""
    followed = folder.manifest.get("recipe")
    if isinstance(followed, dict):
        return followed
    try:
        return folder.asked
    except UserError:  # the page shows the episodes nevertheless
        return {}


def _sources(asked: Mapping[str, Any]) -> list[CaseList]:
    """The cases of a run that can be opened."""
    given = asked.get("cases")
    specs = [given]
    if isinstance(given, Mapping):
        specs = [given.get(name) for name in _shown(given)]
    found = []
    for spec in specs:
        with suppress(UserError):
            if isinstance(spec, str):
                found.append(open_cases(spec))
    return found


def _shown(cases: Mapping[str, Any]) -> Sequence[str]:
    """The names of the cases of a training or of a suite's benchmarks."""
    return SPLITS if set(SPLITS) & set(cases) else list(cases)


def _case(case: Case) -> dict[str, Any]:
    # A mask spares the decoding of an image, where there is only the one.
    masks = {r.image: r.mask for r in case.regions if r.mask is not None and r.plane is None}
    sizes: list[tuple[int, int]] = []
    shapes: list[tuple[float, float]] = []  # as they are shown, where pixels need not be square
    volumes: dict[int, dict[str, Any]] = {}
    starts: list[dict[str, Any]] = []
    with suppress(UserError):  # without its images the text is still shown
        for number, ref in enumerate(case.images):
            mask = masks.get(number)
            if mask is not None and (ref.plane, ref.index, ref.frame) == (None, None, None):
                sizes.append((mask.width, mask.height))
                shapes.append(sizes[-1])
                starts.append(_place(ImagePlace()))
                continue
            opened = opened_image(ref)
            sizes.append(opened.start.size)
            shapes.append(opened.start.true_size(*opened.start.size))
            starts.append(_place(opened.place))
            if opened.has_many:
                volumes[number] = _volume(opened)
        for view in case.views:
            named = {name: getattr(view, name) for name in ("plane", "index", "slab", "window")}
            starts.append(
                {"image": view.image}
                | starts[view.image]
                | {k: plain(v) for k, v in named.items() if v is not None}
            )
    regions = []
    for region in placed(case):
        shown = {"label": region.label, "image": region.image, "box": region.box_px}
        shown["runs"] = region.mask.counts if region.mask is not None else None
        if region.plane is not None and region.index is not None:
            end = region.index + region.count
            shown |= {"plane": region.plane, "indices": (region.index, end)}
        regions.append(shown)
    return {
        "question": case.question,
        "options": case.options,
        "answer": case.answer,
        "accepted": case.accepted,
        "specialty": case.specialty,
        "sizes": sizes,
        "shapes": shapes,
        "starts": starts,
        "volumes": volumes,
        "regions": regions,
    }


def _volume(opened: OpenedImage) -> dict[str, Any]:
    """What the page says of an image of many: how many each plane has, and of which size."""
    return {name: {"count": p.count, "size": p.size} for name, p in opened.planes.items()}


def _place(place: ImagePlace | Look) -> dict[str, Any]:
    """The plane and the index that a view or a look is of; its slab and its window, if any. Of the
    one image of a flat picture nothing is said."""
    named = {"slab": place.slab, "window": place.window}
    shown = {name: plain(value) for name, value in named.items() if value is not None}
    image = {} if place.plane == IMAGE else {"plane": place.plane, "index": place.index}
    return image | shown


def _outcome(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "answer": trajectory.answer,
        "correct": trajectory.correct,
        "reward": trajectory.reward,
        "terms": dict(trajectory.terms or {}),
        "truncated": trajectory.truncated,
        "faults": list(trajectory.faults),
        "failure": trajectory.failure,
        "looks": [
            {"tool": look.tool, "image": look.image, "box": look.box_px, **_place(look)}
            for look in trajectory.looks
        ],
    }
