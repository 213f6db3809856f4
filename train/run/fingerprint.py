"""Which code a run's plug-ins are: so that a resumed run ends as one that was not interrupted.

The manifest holds the package, its version and a hash of the source of every plug-in that a recipe
names: its module, what that imports from its own package, and the data beside it. Of medgym itself
that package is only the module's own folder, and the version does not count: another medgym whose
`zoom` is the same may resume a run that zooms. A file of cases counts by its content.

Only what the unfinished stages use is compared. A demonstrator that changed after the cold start
has no influence any more.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from medgym.case_spec import file_named, parse_spec
from medgym.errors import UserError
from medgym.registry import entry_point, singular
from medgym.scorer import scorer_name
from medgym.spec import split_spec
from medgym.tool_spec import plug_in_of

from ..data.order import GoldCases
from ..recipe.rubric import RubricTable
from ..recipe.schema import Recipe

FILE = "cases"
"""The kind under which a file of cases stands beside the plug-ins."""

TABLE_OPTIONS = ("path", "questions")
"""The options of sources that may name a file of questions; it counts by its content too."""

OWN = "medgym"
LARGE = 2**24
"""Data beside a module counts by its size alone where it is larger than so many bytes."""

SAMPLE = 64
"""So many cases say which scorers are needed, where a source is too long to be read whole."""


class PlugIn(NamedTuple):
    """A plug-in that a recipe names, by its kind and its registered name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{singular(self.kind) if self.kind != FILE else 'file of cases'} {self.name}"


Fingerprint = dict[str, str]
"""`package`, `version`, `source`."""


def of_policies(*specs: str | None) -> Iterator[PlugIn]:
    """The kinds of policies that some specs name."""
    for spec in specs:
        if spec is not None:
            yield PlugIn("policies", split_spec(spec)[0])


def of_tools(specs: Iterable[str]) -> Iterator[PlugIn]:
    """The tools, or the sources of tools, that some specs name."""
    yield from (PlugIn(*plug_in_of(spec)) for spec in specs)


def of_rubric(table: RubricTable) -> Iterator[PlugIn]:
    """The rubrics that a `[rubric]` names, by itself or by its terms."""
    for name in [each.term.rpartition(".")[0] for each in table.terms] or [table.name or "outcome"]:
        yield PlugIn("rubrics", name.partition(",")[0])


def of_cases(cases: GoldCases | None) -> Iterator[PlugIn]:
    """The sources or files that some cases come from, and the scorers that they need."""
    for part in cases.parts if cases is not None else ():
        file = file_named(part.spec)
        if file is not None:
            yield PlugIn(FILE, file["path"])
        else:
            spec = parse_spec(part.spec)
            yield PlugIn("sources", spec.source)
            yield from (PlugIn(FILE, value) for key, value in spec.options if key in TABLE_OPTIONS)
        if part.listed.all_gold:
            scorers = {scorer_name(case) for case in part.listed[:SAMPLE]}
        else:
            scorers = {facts.scorer for facts in part.facts}
        yield from (PlugIn("scorers", scorer) for scorer in sorted(scorers))


def of_play(recipe: Recipe, cases: GoldCases | None) -> Iterator[PlugIn]:
    """What episodes on some cases are played with, and scored by."""
    yield from of_cases(cases)
    yield from of_tools(recipe.tools.names)
    yield from of_rubric(recipe.rubric)


def fingerprints(plugins: Iterable[PlugIn]) -> dict[str, Fingerprint]:
    """The fingerprint of each plug-in, by `KIND NAME`; of one that is not installed, none."""
    found = {}
    for each in dict.fromkeys(plugins):
        made = _of_file(Path(each.name)) if each.kind == FILE else _of_plug_in(each)
        if made is not None:
            found[f"{each.kind} {each.name}"] = made
    return found


def check_unchanged(
    held: Mapping[str, Fingerprint], plugins: Sequence[PlugIn], folder: Path
) -> None:
    """Refuse to resume a run with other code than it began with.

    Args:
        held: the fingerprints that the manifest holds. plugins: what the run still needs.

    Raises:
        UserError: one of them has changed; it is named.
    """
    now = fingerprints(plugins)
    for each in dict.fromkeys(plugins):
        key = f"{each.kind} {each.name}"
        before, after = held.get(key), now.get(key)
        if before is None or after is None or _same(before, after):
            continue
        where, fix = "", "put it back as it was"
        if after["package"]:
            where = f" of {after['package']} {after['version']}"
        if before["version"] != after["version"]:
            where = f", of {before['package']} {before['version']} then and {after['version']} now,"
            fix = f"install {before['package']} {before['version']}"
        raise UserError(
            f"the {each}{where} has changed since the run in {folder} began; fix: {fix}, or begin "
            "a new run with another --out"
        )


def _same(before: Fingerprint, after: Fingerprint) -> bool:
    counted = ("source",) if before["package"] == after["package"] == OWN else tuple(before)
    return all(before[key] == after.get(key) for key in counted)


def _of_file(path: Path) -> Fingerprint | None:
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"package": "", "version": "", "source": digest}


def _of_plug_in(each: PlugIn) -> Fingerprint | None:
    try:
        point = entry_point(each.kind, each.name)
    except UserError:  # which is said where it is loaded
        return None
    package, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
    return {"package": package, "version": version, "source": _hash(sources(point))}


def sources(point: EntryPoint) -> list[Path]:
    """The files that a plug-in's fingerprint is taken of, sorted."""
    origin = _origin(point.module)
    if origin is None:
        return []
    own = point.dist is not None and point.dist.name == OWN
    package = point.module.rpartition(".")[0] if own else point.module.partition(".")[0]
    root = _origin(package)
    # A module by itself, and what lies on medgym's ground floor, has no folder of its own.
    if package in ("", OWN) or root is None or root.name != "__init__.py":
        return [origin]
    folder = root.parent
    found: set[Path] = set()
    waiting = [origin]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imported(path, package, folder)
    beside = origin.parent.iterdir()
    found |= {path for path in beside if path.is_file() and path.suffix not in (".py", ".pyc")}
    return sorted(found)


def _origin(module: str) -> Path | None:
    """The file of a module, which is not imported for it."""
    try:
        spec = find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return Path(spec.origin).resolve()


def _imported(path: Path, package: str, folder: Path) -> Iterator[Path]:
    """The files that a file imports from its package, which lies in `folder`."""
    if path.suffix != ".py":
        return
    relative = path.relative_to(folder).with_suffix("")
    inside = relative.parts[:-1]
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # which is said where it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = (node.module or "").split(".") if node.module else []
            if node.level:
                here = [*package.split("."), *inside]
                start = here[: len(here) - node.level + 1] + start
            named = [[*start, alias.name] for alias in node.names]
        else:
            continue
        for parts in named:
            if parts[: package.count(".") + 1] != package.split("."):
                continue
            rest = parts[package.count(".") + 1 :]
            for length in range(1, len(rest) + 1):
                place = folder.joinpath(*rest[:length])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file():
                        yield file


def _hash(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGE else str(size).encode()
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()
