"""The wheel: one top-level name, its data inside, and a smoke run from outside the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = (
    "pyproject.toml", "README.md", "LICENSE",
    "medgym", "agents", "benchmarks", "evals", "tools", "train",
)  # fmt: skip


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command; its output, or a failure that shows it."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments: str, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy: a build leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", "..", cwd=source)
    (made,) = folder.glob("medgym-*.whl")
    shutil.rmtree(source)
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    pip("install", str(wheel), "--no-deps", "--no-index", "--target", str(target), cwd=target)
    return target


def outside(installed: Path, code: str, cwd: Path) -> str:
    """Run code against the installed wheel. `-S` leaves out the hooks of an editable install."""
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    path = os.pathsep.join([str(installed), *sorted(libraries)])
    return run(sys.executable, "-S", "-P", "-c", code, cwd=cwd, PYTHONPATH=path)


def test_the_only_top_level_name_is_medgym(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"medgym"}


def test_every_file_of_the_house_is_inside(wheel: Path) -> None:
    expected = set()
    for folder in SHIPPED[3:]:
        inside = folder if folder == "medgym" else f"medgym/{folder}"
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected.add(f"{inside}/{path.relative_to(ROOT / folder).as_posix()}")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if not name.split("/")[0].endswith(".dist-info")} == expected
    assert "medgym/py.typed" in expected
    assert any(name.startswith("medgym/train/recipes/") for name in expected)


def test_the_licence_is_inside(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (licence,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_an_episode_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = """
import sys
import medgym
from medgym.episode import Rules
from medgym.messages import render_answer, render_call

assert "torch" not in sys.modules
tools = tuple(medgym.load("tools", name)() for name in ("zoom", "crop"))
episode = Rules(tools=tools, view_size=64).begin(medgym.open_cases("phantom:train[:1]")[0])
for tool in tools:
    episode.step(render_call(tool.name, {"view": 0, "box": [0, 0, 500, 500]}))
episode.step(render_answer("A"))
assert episode.terminated and len(episode.workspace.views) == 3, episode.turns
for module in list(sys.modules.values()):
    if module.__name__.partition(".")[0] == "medgym":
        print(module.__file__)
"""
    files = outside(installed, code, tmp_path).split()
    assert files
    assert all(Path(file).is_relative_to(installed) for file in files)


def test_the_command_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['medgym', '--help']; from medgym.cli import main; main()"
    shown = outside(installed, code, tmp_path)
    assert all(command in shown for command in ("cases", "play", "rollout", "train", "eval"))
    assert (installed / "bin" / "medgym").exists()
