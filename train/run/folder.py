"""The folder of a training: new, resumed, or used again where nothing came of it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import medgym
from medgym.errors import UserError
from medgym.redaction import redact, redact_toml
from medgym.storage.atomic import remove
from medgym.storage.beginning import write_recipe
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder, provenance
from medgym.storage.shown_images import lost_images

from ..recipe.schema import Recipe, with_defaults
from .fingerprint import PlugIn, check_unchanged, fingerprints
from .lengthening import set_steps, stages_of, table_of

EMPTY = {"manifest.json", "recipe.toml", "stages.json", "images", "trajectories"}
"""What is in the folder of a run that came to nothing; the last two are empty."""

UNFINISHED = (".tmp-", ".cold_start")
"""How the names of files and folders begin that are not whole yet; the second one of older runs."""

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")
"""Libraries of which another version may train otherwise."""

Needed = Mapping[str, Sequence[PlugIn]]
"""The plug-ins that each stage of a run uses, by the stage's name."""


def open_folder(
    folder: Path,
    recipe: Recipe,
    text: str,
    plugins: Needed,
    *,
    resume: bool = False,
    may_lengthen: bool = False,
) -> RunFolder:
    """The run's folder, new or resumed; no other process writes into it meanwhile.

    Args:
        recipe, text: what is asked. plugins: by whose code.
        resume: whether the run that is there continues. may_lengthen: also to another last step.

    Raises:
        UserError: the folder holds another run, or this one with other code; or there is nothing to
            resume.
    """
    text = redact_toml(text)
    wanted = plain(recipe)
    every = [each for used in plugins.values() for each in used]
    facts = {"recipe": wanted, "seeds": {"run": recipe.seed}, "plug_ins": fingerprints(every)}
    begun = (folder / "recipe.toml").is_file()  # and killed before there was a manifest
    if not (folder / "manifest.json").is_file() and (begun or not resume):
        return RunFolder.create(folder, text, **facts)
    run = RunFolder.open(folder)
    run.claim()
    held = run.manifest.get("recipe")
    if not isinstance(held, dict):  # a rollout, an evaluation
        return RunFolder.create(folder, text)  # which says that it is taken
    if not resume and run.manifest["status"] == "running" and _is_empty(folder):
        remove(folder / "stages.json")
        write_recipe(folder, text)
        run.note(**provenance(), **facts)
        return run
    if resume:
        _warn_of_lost_images(folder)
    differing = changed(held, wanted)
    if resume and may_lengthen and differing.keys() == {f"{table_of(wanted)}.max_steps"}:
        check_code(run, plugins, again=stages_of(wanted))
        set_steps(run, wanted)
        return run
    changes = ", ".join(f"{key}: {values}" for key, values in differing.items())
    if resume and changes:
        raise UserError(
            f"{folder} holds a run of another recipe ({changes}); fix: --resume with the same "
            "recipe and seed, or choose another --out"
        )
    if not resume:
        done = "a finished" if run.manifest["status"] == "done" else "an interrupted"
        other = f" of another recipe ({changes})" if changes else ""
        fix = "choose another --out" if changes else "--resume, or choose another --out"
        raise UserError(f"{folder} holds {done} training{other}; fix: {fix}")
    check_code(run, plugins)
    return run


def check_code(run: RunFolder, plugins: Needed, *, again: Sequence[str] = ()) -> None:
    """Refuse to resume a run whose plug-ins have changed; say which libraries have.

    Args:
        plugins: of each stage. again: stages that are done and will be done again.

    Raises:
        UserError: a plug-in that an unfinished stage uses has changed.
    """
    manifest, done = run.manifest, Place(run.path).stages().keys() - set(again)
    needed = [each for stage, used in plugins.items() if stage not in done for each in used]
    if "plug_ins" in manifest:
        check_unchanged(manifest["plug_ins"], needed, run.path)
    else:
        _warn(f"{run.path} was begun by an older medgym, which did not note the code of plug-ins")
    before, now = _versions(manifest), _versions(provenance())
    names = [name for name in now if before.get(name, now[name]) != now[name]]
    if names and needed:
        other = ", ".join(f"{name} {before[name]} (now {now[name]})" for name in names)
        _warn(f"{run.path} was begun with {other}: it may end otherwise than without interruption")


def plain(recipe: Recipe) -> dict[str, object]:
    """A recipe as a manifest holds it, without secrets."""
    found: dict[str, object] = redact(recipe.model_dump(mode="json"))
    return found


def changed(held: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, str]:
    """The keys of two recipes, as `plain` gives them, that differ, with both values.

    A key that is new since the one was written has its default there.
    """
    return dict(_differing(redact(with_defaults(dict(held))), wanted))


def _versions(manifest: Mapping[str, object]) -> dict[str, str]:
    known = manifest.get("versions")
    found = {"medgym": str(manifest.get("medgym", medgym.__version__))}
    if isinstance(known, dict):
        found |= {name: str(known[name]) for name in LIBRARIES if name in known}
    return found


def _warn_of_lost_images(folder: Path) -> None:
    """Training does not read them again; the page and the doctor do."""
    lost = lost_images(folder)
    if lost:
        _warn(
            f"{folder} has lost {len(lost)} of the images that its episodes showed, such as "
            f"{lost[0][:12]}…; fix: restore its images/ (medgym check run {folder})"
        )


def _warn(text: str) -> None:
    print(f"medgym: {text}", file=sys.stderr)


def _is_empty(folder: Path) -> bool:
    """Whether a run came to nothing: it made no model, image or trajectory of its own.

    What was being written when it ended is nothing.
    """
    found = [path for path in folder.iterdir() if not path.name.startswith(UNFINISHED)]
    if any(path.name not in EMPTY or (path.is_dir() and any(path.iterdir())) for path in found):
        return False
    return Place(folder).stages().keys() <= {"base"}


def _differing(
    held: Mapping[str, object], wanted: Mapping[str, object], before: str = ""
) -> Iterator[tuple[str, str]]:
    for key in sorted(held.keys() | wanted.keys()):
        there, here = held.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differing(there, here, f"{before}{key}.")
        elif there != here:
            yield f"{before}{key}", f"{_short(there)} there, {_short(here)} here"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
