"""Check a run whole: manifest, recipe, parts, invariants, counts, images, results, all other files.

Only reads. A run that is being written may be checked too.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.manifest import MANIFEST, RECIPE, read_manifest
from medgym.storage.results import RESULTS, read_results
from medgym.storage.run_folder import RunFolder

from .files import check_files
from .images import check_images, rows_of
from .report import Damage, RunReport, RunRow, brief
from .trajectories import Stored, read_stored, stored_rows
from .walk import Contents, contents

PLAYED = ("rollout", "collect")
"""Commands whose runs play what is missing when they are given again."""


def size_of(found: Contents) -> int:
    """How many files a check of them reads."""
    images = sum(len(found.images(home)) for home in found.homes)
    return len(found.parts) + len(found.others) + images


def find(folder: Path) -> Contents:
    """What is in the folder of a run; `UserError` where it is none."""
    if not any((folder / name).is_file() for name in (MANIFEST, RECIPE)):
        raise UserError(
            f"{folder} is no run folder (it has no {MANIFEST}); fix: name the folder of a run"
        )
    return contents(folder)


def check_run(found: Contents, advance: Callable[[], object] = lambda: None) -> RunReport:
    """Check all that is in a run's folder.

    Args:
        found: what `find` gives.
        advance: called for each file that was read.
    """
    folder = found.folder
    rows: list[RunRow] = []
    damages: list[Damage] = []

    def add(row: RunRow, damaged: list[Damage]) -> None:
        rows.append(row)
        damages.extend(damaged)

    manifests: dict[Path, dict[str, Any]] = {}
    add(*_manifests(found, manifests))
    add(*_recipe(folder))
    once = {home for home in found.homes if asked_of(home).get("command") in PLAYED}
    stored = read_stored(found, once, advance)
    rows += stored_rows(folder, stored)
    damages += [*stored.unreadable, *stored.broken, *stored.repeated]
    wrong = dict(_wrong_contents(manifests, stored))
    rows += _content_rows(folder, manifests, wrong)
    row, lost = check_images(found, stored, advance)
    add(row, lost)
    again = once | {home for home in found.homes if asked_of(home).get("command") == "eval"}
    for home in again:  # elsewhere nothing can play them again
        names = {each.path.stem for each in lost if found.home(each.path) == home}
        damages += rows_of(home, stored, names)
    if (folder / RESULTS).exists():
        add(*_results(folder))
    add(*check_files(found, advance))
    lacking = wrong[folder][0] if folder in wrong else None
    unverified = tuple(stored.unverified)
    return RunReport(folder, tuple(rows), _one_each(damages), unverified, lacking)


def asked_of(home: Path) -> dict[str, Any]:
    """What a run was asked for; nothing where that cannot be read."""
    with suppress(UserError):
        return RunFolder(home).asked
    return {}


def _manifests(
    found: Contents, manifests: dict[Path, dict[str, Any]]
) -> tuple[RunRow, list[Damage]]:
    damages = []
    for home in found.homes:
        try:
            manifests[home] = read_manifest(home)
        except UserError as error:
            said = str(error).partition("; fix: ")[0]
            path = home / MANIFEST
            damages.append(Damage(path, said, missing=not path.is_file()))
    if damages:
        return RunRow("manifest", "fail", brief([each.what for each in damages])), damages
    own = manifests[found.folder]
    more = f"; {len(found.homes) - 1} runs inside" if len(found.homes) > 1 else ""
    return RunRow("manifest", "pass", f"{own['status']}, of medgym {own.get('medgym')}{more}"), []


def _recipe(folder: Path) -> tuple[RunRow, list[Damage]]:
    path = folder / RECIPE
    try:
        _ = RunFolder(folder).asked
    except UserError as error:
        said = str(error).partition("; fix: ")[0]
        return RunRow("recipe", "fail", said), [Damage(path, said, missing=not path.is_file())]
    return RunRow("recipe", "pass", "can be read"), []


def _wrong_contents(
    manifests: dict[Path, dict[str, Any]], stored: Stored
) -> Iterator[tuple[Path, tuple[int, str]]]:
    """Finished runs whose trajectories are not those that the manifest names: how many they lack,
    and what is wrong."""
    for home, manifest in manifests.items():
        lacking, wrong = 0, []
        for store, said in _contents_of(manifest).items():
            found, total = stored.sums.get((home, store), (0, 0))
            wanted = (manifest.get("counts") or {}).get(store)
            where = "" if store == "trajectories" else f" in {store}"
            if found != wanted:
                lacking += max(0, wanted - found) if isinstance(wanted, int) else 0
                wrong.append(f"{found} trajectories{where}, and the manifest counts {wanted}")
            elif said != f"blake2b-sum:{total:032x}":
                wrong.append(f"the trajectories{where} are not those of the manifest's hash")
        if wrong:
            yield home, (lacking, brief(wrong))


def _contents_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The hash that the manifest of a finished run names for each store."""
    if manifest["status"] != "done":
        return {}
    return manifest.get("content") or {}


def _content_rows(
    folder: Path, manifests: dict[Path, dict[str, Any]], wrong: dict[Path, tuple[int, str]]
) -> Iterator[RunRow]:
    if wrong:
        said = [
            what if home == folder else f"{home.relative_to(folder).as_posix()}: {what}"
            for home, (_, what) in wrong.items()
        ]
        yield RunRow("content", "fail", brief(said))
    elif any(_contents_of(manifest) for manifest in manifests.values()):
        yield RunRow("content", "pass", "count and hash of the content are the manifest's")


def _results(folder: Path) -> tuple[RunRow, list[Damage]]:
    try:
        found = read_results(folder)
    except UserError as error:
        said = str(error).partition("; fix: ")[0]
        return RunRow("results", "fail", said), [Damage(folder / RESULTS, said)]
    kinds = [f"{len(found[name])} {name}" for name in ("policies", "benchmarks") if name in found]
    return RunRow("results", "pass", ", ".join(kinds)), []


def _one_each(damages: list[Damage]) -> tuple[Damage, ...]:
    """One damage for a file that is damaged as a whole; else one for all of its rows."""
    whole: dict[Path, Damage] = {}
    for each in damages:
        before = whole.get(each.path)
        if before is None or each.rows is None:
            whole[each.path] = each
        elif before.rows is not None:
            rows = tuple(sorted({*before.rows, *each.rows}))
            what = before.what if before.what == each.what else f"{before.what}; {each.what}"
            whole[each.path] = Damage(each.path, what, rows=rows)
    return tuple(whole.values())
