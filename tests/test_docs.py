"""What the documentation shows is true: its commands print what it says, its code runs.

In a `console` block a line after `$ ` is a command (continued on lines after `> `) and what follows
is what it prints, on stdout and stderr; a line `...` stands for any lines. `python` blocks run, one
after the other, in the folder that the commands before them left; one that is followed by an
`output` block prints it. `sh` and other blocks are not run.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked import Forked, forked

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found.groups()) for found in FENCE.finditer(page.read_text("utf-8"))]


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif (line.startswith("> ") or line == ">\n") and not found[-1][1]:
            found[-1] = (found[-1][0] + (line[2:] or "\n"), "")
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def fits(expected: str, printed: str) -> bool:
    parts = re.split(r"^\.\.\.\n", expected, flags=re.MULTILINE)
    return re.fullmatch(r"(?:.*\n)*?".join(map(re.escape, parts)), printed) is not None


INTERPRETER = """
import json, os, sys, traceback

answers, asked = os.fdopen(int(sys.argv.pop()), "w"), os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
names = {"__name__": "__main__"}
for line in asked:
    code, path = json.loads(line)
    with open(path, "wb") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    status = 0
    try:
        exec(code, names)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    print(status, file=answers, flush=True)
"""


def without_progress(printed: str) -> str:
    """What was printed, but for progress, which comes and goes with the machine's speed."""
    return re.sub(r"^\w+: \d+/\d+, .*\n", "", printed, flags=re.MULTILINE)


class Place:
    """A folder with a shell and a Python of its own, that keep their variables."""

    def __init__(self, folder: Path, programs: Forked) -> None:
        self.folder, self.programs = folder, programs
        folder.mkdir()
        places = [str(programs.folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        path = os.pathsep.join(places)
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
        self.shell = ""
        self.python: subprocess.Popen[str] | None = None

    def run(self, command: str) -> str:
        """What a command prints; assignments stay for those after it."""
        if re.match(r"[A-Z]+=", command):
            self.shell += command
        script = f"{self.shell}\nset -o pipefail\n{command}"
        return self._run(["bash", "-c", script])

    def execute(self, code: str) -> str:
        """What a block of Python prints, in the interpreter of the blocks before it."""
        if self.python is None:
            heard, said = os.pipe()
            self.python = subprocess.Popen(
                [self.programs.folder / "interpreter", str(said)], pass_fds=[said], text=True,
                cwd=self.folder, env=self.environment, stdin=subprocess.PIPE,
            )  # fmt: skip
            os.close(said)
            self.answers = os.fdopen(heard)
        assert self.python.stdin is not None
        path = self.folder.with_name(f"{self.folder.name}-printed")
        self.python.stdin.write(json.dumps([code, str(path)]) + "\n")
        self.python.stdin.flush()
        self.status = int(self.answers.readline() or 1)
        return without_progress(path.read_text("utf-8"))

    def close(self) -> None:
        """End the interpreter."""
        if self.python is not None:
            assert self.python.stdin is not None
            self.python.stdin.close()
            self.python.wait(timeout=60)
            self.answers.close()

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.status = done.returncode
        return without_progress(done.stdout)

    def install(self, toml: str, code: str) -> None:
        """Register a package's entry points as its installation would."""
        project = tomllib.loads(toml)["project"]
        (self.folder / f"{project['name']}.py").write_text(code)
        info = self.folder / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\n")
        lines = []
        for group, points in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))


LIBRARIES = (
    "medgym.cli",
    "medgym.commands.cases.app",
    "medgym.commands.rollout",
    "medgym.evals.commands.eval",
    "medgym.evals.judges.vqa",
    "medgym.evals.reports.page",
    "medgym.agents.scripted.policy",
    "medgym.sources.phantom.check",
    "medgym.sources.phantom.checked",
    "medgym.tools.zoom",
    "PIL.PngImagePlugin",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.stats",
)
"""What most of the commands import."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """The command and the interpreter, which begin at once; the installed command is run by the
    tests of the wheel."""
    with forked(tmp_path_factory.mktemp("forked") / "bin", LIBRARIES) as made:
        made.add("medgym", "import sys\nfrom medgym.cli import main\nsys.exit(main())")
        made.add("interpreter", INTERPRETER, passes=True)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_true(page: Path, tmp_path: Path, programs: Forked) -> None:
    with closing(Place(tmp_path / "reader", programs)) as place:
        follow(page, place)


def follow(page: Path, place: Place) -> None:
    """Do what a page shows, block by block."""
    found = blocks(page)
    for at, block in enumerate(found):
        after = found[at + 1] if at + 1 < len(found) else Block("", "")
        if block.language == "toml" and "[project]" in block.text:
            place.install(block.text, after.text)
        elif block.language == "console":
            for command, expected in commands(block.text):
                printed = place.run(command)
                assert fits(expected, printed), f"$ {command}{printed}"
        elif block.language == "python":
            printed = place.execute(block.text)
            assert place.status == 0, printed
            if after.language == "output":
                assert fits(after.text, printed), printed


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def lost(page: Path) -> list[str]:
    """The links of a page that lead nowhere; those into the web are not followed."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aim = page.parent / path if path else page
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            found.append(target)
    return found


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        assert not lost(page), page.name


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# The `one` that is there\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#the-one-that-is-there) [c](https://example.org/x#y)\n"
        "[d](nowhere.md) [e](there.md#no-heading) [f](#nothing)\n"
    )
    assert lost(page) == ["nowhere.md", "there.md#no-heading", "#nothing"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    targets = re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text("utf-8"))
    # How the tests themselves are tested concerns those who change medgym.
    assert set(targets) == {page.name for page in (ROOT / "docs").glob("*.md")} - {"mutants.md"}


@pytest.mark.slow
def test_the_plug_in_of_the_docs_can_be_built_a_second_time(tmp_path: Path) -> None:
    """After its commands have made folders beside it, as they do when a reader tries them."""
    shown = blocks(ROOT / "docs" / "plug-ins.md")
    project = next(each for each in shown if each.text.startswith("[build-system]"))
    code = next(each for each in shown if each.text.startswith('"""Plug-ins for medgym'))
    package = tmp_path / "package"
    for folder in ("runs", "slides"):
        (package / folder).mkdir(parents=True)
    (package / "pyproject.toml").write_text(project.text)
    (package / "spots.py").write_text(code.text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--wheel-dir", str(tmp_path / "wheels"), str(package)),
        ],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert wheel.name == "spots-0.1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("expected", "printed", "fit"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nd\n", True),
        ("a\n...\n", "a\nb\n", True),
        ("...\nd\n", "c\n", False),
    ],
)
def test_dots_stand_for_any_lines(expected: str, printed: str, fit: bool) -> None:
    assert fits(expected, printed) is fit
