"""The layering, by reading the sources: each rule is a checker, proven on a planted violation."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ("agents", "benchmarks", "evals", "tools", "train")
FOLDERS = ("medgym", *WINGS)
MAX_LINES = 400
VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
HEAVY = {
    "torch", "torchvision", "transformers", "trl", "peft", "accelerate", "datasets", "ray", "vllm",
    "skimage", "scipy", "pydicom", "matplotlib", "pyarrow", "bm25s",
}  # fmt: skip
"""What `import medgym` must not import: the extras, and the heavy ones of the rest."""

Checker = Callable[[Path], list[str]]


def sources(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Every file of the five folders: its path as text, its path, its syntax tree."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path, ast.parse(path.read_text("utf-8"))


def module_of(path: str) -> list[str]:
    """The dotted name under which a file is imported: `tools/zoom.py` is `medgym.tools.zoom`."""
    parts = path.removesuffix(".py").split("/")
    return parts if parts[0] == "medgym" else ["medgym", *parts]


def imported(path: str, node: ast.AST) -> Iterator[tuple[list[str], bool]]:
    """The dotted names that a node imports, relative ones resolved, and which were relative."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.split("."), False
    elif isinstance(node, ast.ImportFrom):
        base = (node.module or "").split(".") if node.module else []
        if node.level:
            here = module_of(path)
            package = here[:-1]  # of a package's __init__.py too: its last part is `__init__`
            base = package[: len(package) - node.level + 1] + base
        for alias in node.names:
            yield [*base, alias.name], bool(node.level)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value.split("."), False


def wings_meet_through_the_registry(root: Path) -> list[str]:
    """No file names another wing; a wing names itself relatively; the ground floor names none."""
    found = []
    for path, _, tree in sources(root):
        home = path.split("/")[0]
        for node in ast.walk(tree):
            for name, relative in imported(path, node):
                if name[0] in WINGS:
                    found.append(f"{path}:{node.lineno} imports the folder {name[0]} by itself")
                if len(name) < 2 or name[0] != "medgym" or name[1] not in WINGS:
                    continue
                if name[1] != home:
                    found.append(f"{path}:{node.lineno} imports the wing {name[1]}")
                elif not relative:
                    found.append(f"{path}:{node.lineno} imports its own wing absolutely")
    return found


def names_say_something(root: Path) -> list[str]:
    """No file, class or function is named utils, helper, manager, common or misc."""
    found = []
    for path, _, tree in sources(root):
        for part in path.removesuffix(".py").split("/"):
            if VAGUE & set(part.split("_")):
                found.append(f"{path} is named {part}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = re.findall(r"[A-Z]?[a-z]+", node.name)
                if VAGUE & {word.lower() for word in words}:
                    found.append(f"{path}:{node.lineno} names {node.name}")
    return found


def files_are_short(root: Path) -> list[str]:
    """No file has more than `MAX_LINES` lines."""
    lengths = {path: len(file.read_text("utf-8").splitlines()) for path, file, _ in sources(root)}
    return [f"{path} has {n} lines" for path, n in lengths.items() if n > MAX_LINES]


def modules_have_docstrings(root: Path) -> list[str]:
    """Every file opens with a docstring."""
    return [f"{path} has no docstring" for path, _, tree in sources(root) if not _docstring(tree)]


def _docstring(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").strip()


def packages_are_listed(root: Path) -> list[str]:
    """pyproject.toml lists exactly the folders that hold Python files, each a package."""
    listed = set(project(root)["tool"]["setuptools"]["packages"])
    found, present = [], set()
    for path, file, _ in sources(root):
        present.add(".".join(module_of(path)[:-1]))
        if not (file.parent / "__init__.py").exists():
            found.append(f"{file.parent.relative_to(root).as_posix()} has no __init__.py")
    found += [f"pyproject.toml does not list {name}" for name in sorted(present - listed)]
    found += [f"pyproject.toml lists {name}, which is empty" for name in sorted(listed - present)]
    return sorted(set(found))


def constraints_are_plain(root: Path) -> list[str]:
    """constraints.txt holds names and exact versions: no address, no package of one platform."""
    found = []
    for line in (root / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if not re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line):
            found.append(f"constraints.txt: {line}")
        if line.startswith(("nvidia", "cuda", "triton")):
            found.append(f"constraints.txt: {line} is for some machines alone")
    return found


CHECKERS: tuple[Checker, ...] = (
    wings_meet_through_the_registry,
    names_say_something,
    files_are_short,
    modules_have_docstrings,
    packages_are_listed,
    constraints_are_plain,
)


def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_house_keeps_the_rule(checker: Checker) -> None:
    assert checker(ROOT) == []


PLANTED: dict[str, tuple[Checker, str, str]] = {
    "another wing": (wings_meet_through_the_registry, "tools/a.py", "from medgym.agents import b"),
    "another wing, as a module": (
        wings_meet_through_the_registry, "tools/a.py", "import medgym.agents.b"),
    "another wing, from the root": (
        wings_meet_through_the_registry, "train/a.py", "from medgym import evals"),
    "another wing, relatively": (
        wings_meet_through_the_registry, "tools/a.py", "from ..agents import b"),
    "another wing, two floors up": (
        wings_meet_through_the_registry, "train/deep/a.py", "from ...agents.b import c"),
    "another wing, inside a function": (
        wings_meet_through_the_registry, "evals/a.py", "def f():\n    from medgym.train import b"),
    "another wing, by its name": (
        wings_meet_through_the_registry, "evals/a.py",
        "import importlib\nimportlib.import_module('medgym.train.b')"),
    "another wing, from the benchmarks": (
        wings_meet_through_the_registry, "benchmarks/a.py", "from medgym.train import looker"),
    "its own wing absolutely": (
        wings_meet_through_the_registry, "tools/a.py", "from medgym.tools.b import c"),
    "a wing from the ground floor": (
        wings_meet_through_the_registry, "medgym/a.py", "from medgym.tools import b"),
    "a wing from the ground floor, relatively": (
        wings_meet_through_the_registry, "medgym/a.py", "from .tools import b"),
    "a wing from below the ground floor": (
        wings_meet_through_the_registry, "medgym/rollout/a.py", "from ..train import b"),
    "a folder as a top-level name": (
        wings_meet_through_the_registry, "medgym/a.py", "import tools.zoom"),
    "a vague file": (names_say_something, "tools/image_utils.py", "pass"),
    "a vague folder": (names_say_something, "tools/common/a.py", "pass"),
    "a vague class": (names_say_something, "tools/a.py", "class ViewManager: pass"),
    "a vague function": (names_say_something, "tools/a.py", "def _crop_helper(): pass"),
    "a long file": (files_are_short, "tools/a.py", "x = 1\n" * (MAX_LINES + 1)),
    "no docstring": (modules_have_docstrings, "tools/a.py", "x = 1"),
    "an unlisted package": (packages_are_listed, "tools/new/__init__.py", ""),
    "a folder that is no package": (packages_are_listed, "tools/new/a.py", ""),
    "an address": (constraints_are_plain, "constraints.txt", "--index-url https://host/simple"),
    "an address of a file": (constraints_are_plain, "constraints.txt", "torch @ file:///torch.whl"),
    "a package of one platform": (constraints_are_plain, "constraints.txt", "triton==3.9.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_found(case: tuple[Checker, str, str], tmp_path: Path) -> None:
    checker, path, text = case
    (tmp_path / "pyproject.toml").write_text("[tool.setuptools]\npackages = ['medgym.tools']")
    (tmp_path / "constraints.txt").write_text("torch==2.15.0\n")
    (tmp_path / "tools").mkdir()
    good = '"""A tool."""\nfrom medgym.tool import Tool\nfrom .b import c\n'
    (tmp_path / "tools/__init__.py").write_text(good)
    assert [found for each in CHECKERS for found in each(tmp_path)] == []

    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    assert checker(tmp_path) != []


def registered() -> Iterator[tuple[str, str, str]]:
    """(group, name, value) of every entry point in pyproject.toml."""
    metadata = project(ROOT)["project"]
    groups = {"console_scripts": metadata["scripts"], **metadata["entry-points"]}
    for group, points in groups.items():
        for name, value in points.items():
            yield group, name, value


@pytest.mark.parametrize("point", list(registered()), ids=lambda point: f"{point[0]}:{point[1]}")
def test_what_is_registered_loads(point: tuple[str, str, str]) -> None:
    group, name, value = point
    installed = {p.name: p.value for p in entry_points(group=group)}
    assert installed.get(name) == value, "pyproject.toml changed; install it again: make install"
    module, _, attribute = value.partition(":")
    assert hasattr(importlib.import_module(module), attribute)


def newly_imported(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_import_medgym_is_light() -> None:
    assert newly_imported("import medgym") & HEAVY == set()


@pytest.mark.parametrize("module", ["medgym.cases", "medgym.episode", "medgym.tool", "medgym.cli"])
def test_the_ground_floor_needs_no_extra(module: str) -> None:
    extras = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "datasets"}
    assert newly_imported(f"import {module}") & extras == set()


def test_a_heavy_import_is_noticed() -> None:
    assert newly_imported("import medgym, pydicom") & HEAVY
