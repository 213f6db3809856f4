"""The layering, by reading the sources: each rule is a checker, proven on planted violations.

The rooms are the folders beside `medgym`, which is the ground floor. The rules:

1. No room imports another, the ground floor imports no room, a room imports itself relatively.
2. No `load(KIND, "name")` where pyproject.toml registers that name in another room, nor through a
   constant of the file: that is an import which no type checker sees.
3. No circle of imports. Every import counts, in a function and under TYPE_CHECKING too, because a
   circle that is only deferred is still one. `FRIENDS` are the one exception.
4. No folder of more than 15 modules. The ground floor itself is excepted: contracts stay flat.
5. No file of more than 400 lines.
6. No public class name twice: one word has one meaning.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "benchmarks", "evals", "tools", "train")
FOLDERS = ("medgym", *ROOMS)
MAX_LINES = 400
MAX_MODULES = 15
FLAT = "medgym"
"""The folder that may hold any number of modules: contracts stay flat and singular."""

FRIENDS = {"medgym.episode", "medgym.rubric"}
"""The one honest circle: an episode is scored by a rubric, and a rubric reads the episode. The
rubric imports the episode's type only under TYPE_CHECKING."""

DEFAULTS = {
    ("medgym/local_model.py", "local_models", "transformers"),
    ("medgym/consultation/team.py", "policies", "consultation"),
    ("medgym/consultation/team.py", "policies", "majority"),
}
"""The names that the ground floor takes from a room: each is what serves a contract by default, and
the same file says its type."""

VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
HEAVY = {
    "torch", "torchvision", "transformers", "trl", "peft", "accelerate", "datasets", "ray", "vllm",
    "skimage", "scipy", "pydicom", "matplotlib", "pyarrow", "bm25s", "mcp", "uvicorn",
    "monai", "usearch", "sentence_transformers", "torchxrayvision",
}  # fmt: skip
"""What `import medgym` must not import: the extras, and the heavy ones of the rest."""

Checker = Callable[[Path], list[str]]


def sources(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Every file of the five folders: its path as text, its path, its syntax tree."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path, _parsed(path.read_text("utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


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


def rooms_meet_through_the_registry(root: Path) -> list[str]:
    """No file names another room; a room names itself relatively; the ground floor names none."""
    found = []
    for path, _, tree in sources(root):
        home = path.split("/")[0]
        for node in ast.walk(tree):
            for name, relative in imported(path, node):
                if name[0] in ROOMS:
                    found.append(f"{path}:{node.lineno} imports the folder {name[0]} by itself")
                if len(name) < 2 or name[0] != "medgym" or name[1] not in ROOMS:
                    continue
                if name[1] != home:
                    found.append(f"{path}:{node.lineno} imports the room {name[1]}")
                elif not relative:
                    found.append(f"{path}:{node.lineno} imports its own room absolutely")
    return found


def no_room_is_loaded_by_name(root: Path) -> list[str]:
    """No `load(KIND, NAME)`, the name a literal or a constant of the file, of another room."""
    homes = {
        (group.removeprefix("medgym."), name): value.removeprefix("medgym.").split(".")[0]
        for group, points in project(root)["project"].get("entry-points", {}).items()
        for name, value in points.items()
    }
    found = []
    for path, _, tree in sources(root):
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

        def text_of(node: ast.expr, constants: dict[str, object] = constants) -> object:
            if isinstance(node, ast.Name):
                return constants.get(node.id)
            return node.value if isinstance(node, ast.Constant) else None

        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if called != "load" or len(given) != 2:
                continue
            kind, name = map(text_of, given)
            home = homes.get((str(kind), str(name)))
            if home in ROOMS and home != path.split("/")[0] and (path, kind, name) not in DEFAULTS:
                found.append(f"{path}:{node.lineno} loads {name!r} of {kind} from the room {home}")
    return found


def _modules(root: Path) -> dict[str, tuple[str, ast.Module]]:
    """Every module by its dotted name; a package is its `__init__.py`."""
    found = {}
    for path, _, tree in sources(root):
        name = ".".join(module_of(path)).removesuffix(".__init__")
        found[name] = (path, tree)
    return found


def _imports_of_modules(root: Path) -> dict[str, set[str]]:
    """What each module imports of the others, its packages' faces included.

    A module's own packages are left out: Python runs them first, and does not wait for them.
    """
    modules = _modules(root)
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, (path, tree) in modules.items():
        for node in ast.walk(tree):
            for dotted, _ in imported(path, node):
                parts = list(dotted)
                while parts and ".".join(parts) not in modules:
                    parts.pop()  # of `from medgym.tool import Tool` the module is `medgym.tool`
                known = {".".join(parts[: end + 1]) for end in range(len(parts))} & modules.keys()
                graph[name] |= {
                    each for each in known if each != name and not name.startswith(f"{each}.")
                }
    return graph


def imports_make_no_circle(root: Path) -> list[str]:
    """No module imports itself through others, `FRIENDS` excepted."""
    graph = _imports_of_modules(root)
    for friend in FRIENDS & graph.keys():
        graph[friend] -= FRIENDS
    found = []
    for start in sorted(graph):
        circle = _way_back(graph, start)
        if circle and start == min(circle):
            found.append(f"a circle of imports: {' -> '.join([*circle, start])}")
    return found


def _way_back(graph: dict[str, set[str]], start: str) -> list[str]:
    """The shortest way from a module through its imports back to itself, [] for none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for each in sorted(graph[way[-1]]):
            if each == start:
                return way
            if each not in seen:
                seen.add(each)
                ways.append([*way, each])
    return []


def folders_are_small(root: Path) -> list[str]:
    """No folder has more than `MAX_MODULES` modules, its face not counted."""
    counts: dict[str, int] = {}
    for path, _, _ in sources(root):
        folder, _, name = path.rpartition("/")
        counts[folder] = counts.get(folder, 0) + (name != "__init__.py")
    return [
        f"{folder} has {count} modules"
        for folder, count in counts.items()
        if count > MAX_MODULES and folder != FLAT
    ]


def public_classes_have_one_meaning(root: Path) -> list[str]:
    """No two modules define a public class of one name."""
    homes: dict[str, list[str]] = {}
    for path, _, tree in sources(root):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    return [
        f"{name} is defined in {', '.join(places)}"
        for name, places in homes.items()
        if len(places) > 1
    ]


LAZY = {"__getattr__", "__dir__"}
"""The functions of a module that re-exports its names when they are first used."""


def faces_define_nothing(root: Path) -> list[str]:
    """An `__init__.py` defines no class and no function but those that re-export lazily."""
    found = []
    for path, _, tree in sources(root):
        if not path.endswith("/__init__.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name not in LAZY:
                    found.append(f"{path}:{node.lineno} defines {node.name}")
            elif isinstance(node, ast.Lambda):
                found.append(f"{path}:{node.lineno} defines a function")
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
            found.append(f"constraints.txt: {line} is only for some machines")
    return found


CHECKERS: tuple[Checker, ...] = (
    rooms_meet_through_the_registry,
    no_room_is_loaded_by_name,
    imports_make_no_circle,
    folders_are_small,
    files_are_short,
    public_classes_have_one_meaning,
    faces_define_nothing,
    names_say_something,
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
    "another room": (rooms_meet_through_the_registry, "tools/a.py", "from medgym.agents import b"),
    "another room, as a module": (
        rooms_meet_through_the_registry, "tools/a.py", "import medgym.agents.b"),
    "another room, from the root": (
        rooms_meet_through_the_registry, "train/a.py", "from medgym import evals"),
    "another room, relatively": (
        rooms_meet_through_the_registry, "tools/a.py", "from ..agents import b"),
    "another room, two floors up": (
        rooms_meet_through_the_registry, "train/deep/a.py", "from ...agents.b import c"),
    "another room, inside a function": (
        rooms_meet_through_the_registry, "evals/a.py", "def f():\n    from medgym.train import b"),
    "another room, by its name": (
        rooms_meet_through_the_registry, "evals/a.py",
        "import importlib\nimportlib.import_module('medgym.train.b')"),
    "another room, from the benchmarks": (
        rooms_meet_through_the_registry, "benchmarks/a.py", "from medgym.train import looker"),
    "its own room absolutely": (
        rooms_meet_through_the_registry, "tools/a.py", "from medgym.tools.b import c"),
    "a room from the ground floor": (
        rooms_meet_through_the_registry, "medgym/a.py", "from medgym.tools import b"),
    "a room from the ground floor, relatively": (
        rooms_meet_through_the_registry, "medgym/a.py", "from .tools import b"),
    "a room from below the ground floor": (
        rooms_meet_through_the_registry, "medgym/rollout/a.py", "from ..train import b"),
    "a folder as a top-level name": (
        rooms_meet_through_the_registry, "medgym/a.py", "import tools.zoom"),
    "a name of another room": (
        no_room_is_loaded_by_name, "train/a.py", "judge = load('judges', 'vqa')"),
    "a name of another room, as a constant": (
        no_room_is_loaded_by_name, "train/a.py", "NAME = 'vqa'\nload('judges', NAME)"),
    "a name of another room, by keywords": (
        no_room_is_loaded_by_name, "train/a.py", "registry.load(kind='judges', name='vqa')"),
    "a name of a room, from the ground floor": (
        no_room_is_loaded_by_name, "medgym/a.py", "def f():\n    return load('judges', 'vqa')"),
    "a circle of two": (imports_make_no_circle, "tools/b.py", "from . import c"),
    "a circle for the type checker": (
        imports_make_no_circle, "tools/b.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import d"),
    "a circle inside a function": (
        imports_make_no_circle, "tools/b.py", "def f():\n    from .c import d"),
    "a circle through the face of a folder": (
        imports_make_no_circle, "medgym/leaf.py", "import medgym.box"),
    "a large folder": (folders_are_small, "tools/a15.py", ""),
    "a class of a name that is taken": (
        public_classes_have_one_meaning, "medgym/a.py", "class Taken: pass"),
    "a face that defines a class": (faces_define_nothing, "tools/__init__.py", "class A: pass"),
    "a face that defines a function": (
        faces_define_nothing, "tools/__init__.py", "if True:\n    def f(): pass"),
    "a face that defines a lambda": (
        faces_define_nothing, "tools/__init__.py", "f = lambda: 1"),
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


SOUND = {
    "pyproject.toml": """
        tool.setuptools.packages = ["medgym", "medgym.box", "medgym.tools", "medgym.train"]
        [project.entry-points]
        "medgym.judges" = {vqa = "medgym.evals.judges.vqa:judge"}
        "medgym.tools" = {zoom = "medgym.tools.c:Taken"}
        "medgym.sources" = {phantom = "medgym.leaf:Phantom"}
        "medgym.local_models" = {transformers = "medgym.agents.hf.policy:HFPolicy"}
        """,
    "constraints.txt": "torch==2.15.0\n",
    # A room imports the ground floor and itself, and loads by name what is its own, what is the
    # ground floor's, and what a user named.
    "tools/__init__.py": '"""A tool."""\nfrom medgym.tool import Tool\nfrom .c import Taken\n',
    "tools/c.py": '"""C."""\nfrom .b import c\nload("tools", "zoom")\nload("sources", "phantom")\n'
    "class Taken: pass\n",
    "tools/b.py": '"""B."""\nclass _Taken: pass\n',
    **{f"tools/a{number}.py": '"""A."""\n' for number in range(2, 15)},
    "train/__init__.py": '"""T."""\ndef __getattr__(name): ...\n',
    "train/d.py": '"""D."""\ndef f(name):\n    return load("judges", name)\n',
    # More modules than another folder may hold; the honest pair; the default of a contract.
    "medgym/__init__.py": '"""M."""\n',
    **{f"medgym/m{number}.py": '"""M."""\n' for number in range(MAX_MODULES + 1)},
    "medgym/episode.py": '"""E."""\nfrom medgym.rubric import Rubric\n',
    "medgym/rubric.py": '"""R."""\nif TYPE_CHECKING:\n    from medgym.episode import Episode\n',
    "medgym/local_model.py": '"""L."""\nD = "transformers"\nload("local_models", D)\n',
    # A face that re-exports, and a module under it that the rest of its folder imports.
    "medgym/box/__init__.py": '"""B."""\nfrom medgym.box.inner import thing\n',
    "medgym/box/inner.py": '"""I."""\nimport medgym.leaf\nfrom medgym.box.deep import x\n',
    "medgym/box/deep.py": '"""D."""\n',
    "medgym/leaf.py": '"""L."""\n',
}
"""A small house that keeps every rule, to its edge; each violation is planted in it."""


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_found(case: tuple[Checker, str, str], tmp_path: Path) -> None:
    checker, path, text = case
    for name, good in SOUND.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(good)
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
    if group == "inspect_ai":  # an extra that needs an environment of its own
        pytest.importorskip("inspect_ai")
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
