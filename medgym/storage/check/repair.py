"""Set aside what is damaged in a run, so that what is lost can be played again.

Nothing is deleted: each file is moved to `set-aside/` in the run's folder, under its own path.
Where only some episodes of a part are damaged, the part is copied there, and written again without
them.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.atomic import check_writable, remove
from medgym.storage.layout import ROLE, SET_ASIDE, Place
from medgym.storage.manifest import MANIFEST, RECIPE, read_manifest
from medgym.storage.parts import Part, part_number
from medgym.storage.run_folder import RunFolder, provenance
from medgym.storage.trajectories import TrajectoryStore, trajectories_of

from .report import Damage, RunReport
from .run import PLAYED, asked_of
from .walk import Contents

JUDGING = ("judged", "judged.json", "results.json")
"""What the judging of a training writes, which it can write again."""

STAGES = {ROLE: "grpo", "dpo": "dpo", "kto": "kto"}
"""The stages whose adapters their checkpoints hold too, by the role: those of a training without a
consultation."""


class Repaired:
    """What a repair did.

    Attributes:
        moved: what was set aside, and why.
        left: what was not, and why.
        todo: what to do next.
    """

    def __init__(self) -> None:
        self.moved: list[str] = []
        self.left: list[str] = []
        self.todo: list[str] = []


def repair(found: Contents, report: RunReport) -> Repaired:
    """Set aside the damages of a run. No other process may be writing into it.

    Raises:
        UserError: another process writes there, or the folder cannot be written.
    """
    folder = found.folder
    run = RunFolder(folder)
    if (folder / RECIPE).is_file():
        run.claim()
    done = Repaired()
    aside: set[Path] = set()
    try:
        damages = [*report.damages, *_suspects(folder, report)]
        # The manifest comes last: in a folder without one, links are followed.
        for damage in sorted(damages, key=lambda each: each.path.name == MANIFEST):
            name = report.name(damage.path)
            if damage.missing:
                continue
            if _may_move(found, damage):
                _set_aside(folder, damage)
                aside.add(damage.path)
                done.moved.append(f"{name}: {damage.what}")
            else:
                done.left.append(f"{name}: {damage.what}; restore it from a copy")
        _reopen(found, report, aside, done)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}); fix: repair it where it may be written"
        ) from error
    return done


def command_of(folder: Path, asked: Mapping[str, Any]) -> str:
    """The command that made the run of a rollout."""
    words = ["medgym", "rollout", str(asked.get("cases")), "--policy", str(asked.get("policy"))]
    options = ("rubric", "max_turns", "view_size", "temperature", "max_tokens", "seed")
    for name in ("group_size", *options):
        if name in asked:
            words += [f"--{name.replace('_', '-')}", str(asked[name])]
    tools = asked.get("tools")
    words += ["--tools", ",".join(map(str, tools))] if tools else ["--no-tools"]
    return shlex.join([*words, "--out", str(folder)])


def _suspects(folder: Path, report: RunReport) -> Iterator[Damage]:
    """Parts without a hash, where the content is wrong and nothing else says which part it is."""
    lacks = report.lacking is not None and report.lacking > 0
    if report.lacking is None or lacks or report.damages:
        return
    if asked_of(folder).get("command") in PLAYED:
        for path in report.unverified:
            if path.parent == folder / "trajectories":
                yield Damage(path, "may hold what is not that of the manifest's hash")


def _may_move(found: Contents, damage: Damage) -> bool:
    """Whether a run can do without a file, or makes it again."""
    name = damage.path.name
    played = asked_of(found.home(damage.path)).get("command") in PLAYED
    if name == MANIFEST:
        return played and damage.path.parent == found.folder
    if damage.path in found.parts:
        return True
    if damage.path.suffix == ".png":
        return True
    inside = damage.path.relative_to(found.folder).parts
    role = _role(inside)
    if role is not None:
        return any(Place(found.folder, role).checkpoints.glob("checkpoint-*"))
    return inside[0] in JUDGING or inside[0].startswith("checkpoints")


def _role(inside: tuple[str, ...]) -> str | None:
    """Whose adapter a path inside a run belongs to, if it is one of `STAGES`."""
    found = inside[1] if inside[:1] == ("adapters",) and len(inside) > 1 else None
    return found if found in STAGES else None


def _set_aside(folder: Path, damage: Damage) -> None:
    """Move a file to the folder for what is damaged; of a part with some good rows, a copy."""
    inside = damage.path.relative_to(folder)
    # A checkpoint and a version of an adapter are of use only as a whole.
    if inside.parts[0].startswith("checkpoints"):
        inside = Path(*inside.parts[:2])
    elif _role(inside.parts) is not None:
        inside = Path(*inside.parts[:3])
    source, target = folder / inside, folder / SET_ASIDE / inside
    if not os.path.lexists(source):
        return  # with another file of the same folder
    check_writable(source)
    check_writable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    while os.path.lexists(target):
        number += 1
        target = target.with_name(f"{inside.name}.{number}")
    if damage.rows is None:
        os.rename(source, target)
        return
    rows = list(trajectories_of(Part(source)))
    shutil.copy2(source, target)
    good = [row for number, row in enumerate(rows) if number not in damage.rows]
    if good:
        TrajectoryStore(source.parent).write(good, number=part_number(source))
    else:
        remove(source)


def _reopen(found: Contents, report: RunReport, aside: set[Path], done: Repaired) -> None:
    """Have the command that made the run play again what is lost."""
    folder = found.folder
    asked = asked_of(folder)
    command = asked.get("command")
    entry = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "set_aside": sorted(report.name(path) for path in aside),
    }
    again = "run the command again that made it"
    if command in PLAYED:
        if not _play_again(folder, asked, report, entry):
            return
        call = f": {command_of(folder, asked)}" if command == "rollout" else ""
        done.todo.append(f"{again}; it plays what is missing{call}")
        return
    if command == "eval":
        if not _has_manifest(folder):
            done.todo.append(f"{again}, with another --out; the manifest is lost")
        elif _play_again(folder, asked, report, entry):
            done.todo.append(f"{again}; it judges again what is missing")
        return
    if not _has_manifest(folder):
        return
    run = RunFolder(folder)
    inside = [path.relative_to(folder).parts[0] for path in aside]
    roles = {_role(path.relative_to(folder).parts) for path in aside} - {None}
    if roles:
        Place(folder).reopen("judge", *(STAGES[role] for role in roles if role is not None))
        run.note(status="running")
        done.todo.append(
            f"{again}, with --resume; it publishes the adapter of its last checkpoint and judges "
            "again"
        )
    elif any(name in JUDGING for name in inside) or (report.lacking or 0) > 0:
        Place(folder).reopen("judge")
        run.note(status="running")
        done.todo.append(f"{again}, with --resume; it judges again")
    if any(name.startswith("checkpoints") for name in inside):
        done.todo.append(
            f"if it is not finished, {again}, with --resume: from the checkpoint before"
        )
    if any(name in ("trajectories", "opinions", "curriculum") for name in inside):
        done.todo.append(
            "nothing plays the episodes of training again; the figures and the model stay"
        )
    _note(run, entry)


def _play_again(
    folder: Path, asked: Mapping[str, Any], report: RunReport, entry: dict[str, Any]
) -> bool:
    """Have a rollout resume, if anything can be played again; whether there is."""
    run = RunFolder(folder)
    if not (folder / MANIFEST).is_file():
        seeds = {"run": asked.get("seed", 0)}
        run.write_json(MANIFEST, {**provenance(), "status": "running", "seeds": seeds})
    if entry["set_aside"] or (report.lacking or 0) > 0:
        run.note(status="running")
        _note(run, entry)
        return True
    return False


def _has_manifest(folder: Path) -> bool:
    """Whether the manifest of a run can be read, and so be written again with a note in it."""
    with suppress(UserError):
        return bool(read_manifest(folder))
    return False


def _note(run: RunFolder, entry: Mapping[str, Any]) -> None:
    before: Sequence[Any] = run.manifest.get("repaired") or ()
    run.note(repaired=[*before, entry])
