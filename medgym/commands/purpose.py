"""What a plug-in is for, and why it does not load: read from its source, without importing it."""

import ast
import importlib.util
import itertools
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path


def purpose(point: EntryPoint) -> str:
    """The first line of its docstring; of a TOML file, the first paragraph of its comment."""
    try:
        return _purpose(point.module, point.attr)
    except Exception:  # a plug-in that is broken says so when it is loaded
        return ""


def missing_library(point: EntryPoint) -> str | None:
    """A library that its module imports at once and that is not installed."""
    for node in _tree(point.module)[1].body:
        for name in _imports(node):
            root = name.partition(".")[0]
            if importlib.util.find_spec(root) is None:
                return root
    return None


def _tree(module: str) -> tuple[Path, ast.Module]:
    spec = importlib.util.find_spec(module)
    path = Path(str(spec and spec.origin))
    return path, ast.parse(path.read_text("utf-8"))


def _purpose(module: str, name: str) -> str:
    path, tree = _tree(module)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                    source = "." * node.level + (node.module or "")
                    return _purpose(importlib.util.resolve_name(source, package), alias.name)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and _is_entry(node, name):
            return (ast.get_docstring(node) or "").partition("\n")[0]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            for file in _toml_files(node.value):
                return _head(path.with_name(file)).removeprefix(f"{Path(file).stem}: ")
    return ""


def _head(file: Path) -> str:
    """The first paragraph of the comment that a TOML file begins with."""
    lines = file.read_text("utf-8").split("\n")
    comment = itertools.takewhile(lambda line: line.startswith("# "), lines)
    return " ".join(line.removeprefix("# ") for line in comment)


def _toml_files(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and str(each.value).endswith(".toml"):
            yield str(each.value)


def _is_entry(node: ast.FunctionDef | ast.ClassDef, name: str) -> bool:
    """Whether this is what is registered as `name`, or the callback of the Typer so named."""
    callbacks = (ast.unparse(mark).startswith(f"{name}.callback(") for mark in node.decorator_list)
    return node.name == name or any(callbacks)


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
