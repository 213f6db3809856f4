"""The command `medgym new`: a package of one plug-in, which installs and whose tests pass."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from medgym.errors import RunError, UserError, unknown
from medgym.registry import names

TEMPLATES = Path(__file__).with_name("templates")

SPECIAL = frozenset({"setup", "conftest"})
"""Modules that pip and pytest run by themselves."""

LONGEST = 40
"""Characters of a name."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Made:
    """What is made of a kind of plug-in.

    Attributes:
        kinds: its group of entry points. about: what the example does. use: how it is tried out.
        is_class: whether a class is registered, and not a function.
    """

    kinds: str
    about: str
    use: str
    is_class: bool = True


KINDS = {
    "tool": Made(
        "tools",
        "A tool that enlarges a box and compares its mean value with that of the image.",
        "medgym check tool $name",
    ),
    "source": Made(
        "sources",
        "A source of cases that draws its images: bright discs in noise.",
        "medgym cases check $name --n 20",
    ),
    "rubric": Made(
        "rubrics",
        "A rubric that pays for right answers, and a little for sparing calls.",
        "medgym train audit --rubric $name",
        is_class=False,
    ),
    "policy": Made(
        "policies",
        "A policy that looks at the middle of the image and always gives one answer.",
        "medgym play phantom:test --policy $name:B",
    ),
    "suite": Made(
        "suites",
        "A suite of two benchmarks of synthetic images.",
        "medgym eval $name --policy scripted:random",
        is_class=False,
    ),
}


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the plug-in and its package: a-z, 0-9 and -.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The package's folder; by default NAME."),
    ] = None,
) -> None:
    """Write a package with a plug-in of your own: a module of twenty lines, and tests that pass.

    Example: medgym new tool contrast
    """
    if kind not in KINDS:
        raise unknown("kind of plug-in", kind, KINDS)
    check_name(KINDS[kind].kinds, name)
    folder = Path(name) if out is None else out
    write_package(kind, name, folder)
    print(f"{folder}: try it by\n  pip install -e {folder}\n  python -m pytest {folder}")
    print(f"  {Template(KINDS[kind].use).substitute(name=name)}")


def check_name(kinds: str, name: str) -> None:
    """Refuse a name that cannot be that of a plug-in, or of its package.

    Raises:
        UserError: other letters than a package has, or a name that is taken.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"{name[:60]!r} is no name of a plug-in; fix: use a to z, 0 to 9 and -, a letter "
            f"first, at most {LONGEST} characters"
        )
    module = module_of(name)
    if keyword.iskeyword(module) or module in sys.stdlib_module_names | SPECIAL:
        raise UserError(f"{name!r} is a word of Python's own; fix: choose another name")
    if name in names(kinds):
        raise UserError(f"{name!r} is registered in medgym.{kinds} already; fix: choose another")
    if importlib.util.find_spec(module) is not None:
        raise UserError(f"a package {module!r} is installed already; fix: choose another name")


def module_of(name: str) -> str:
    """The module of a plug-in's package."""
    return name.replace("-", "_")


def write_package(kind: str, name: str, folder: Path) -> None:
    """Write the package into a folder that is new or empty.

    Raises:
        UserError: there is something in the folder, or it is none.
        RunError: it cannot be written.
    """
    made, module = KINDS[kind], module_of(name)
    title = "".join(part.capitalize() for part in name.split("-"))
    words = {
        "name": name,
        "module": module,
        "Class": title,
        "object": title if made.is_class else module,
        "kinds": made.kinds,
        "about": made.about,
        "use": Template(made.use).substitute(name=name),
    }
    files = {
        "pyproject.toml": "pyproject.txt",
        "README.md": "readme.txt",
        f"{module}.py": f"{kind}/module.txt",
        f"test_{module}.py": f"{kind}/test.txt",
    }
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there already; fix: choose another folder by --out")
        folder.mkdir(parents=True, exist_ok=True)
        for file, template in files.items():
            text = Template((TEMPLATES / template).read_text("utf-8")).substitute(words)
            with (folder / file).open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror}); fix: check it") from error
