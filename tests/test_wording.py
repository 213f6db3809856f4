"""Plain English in all that a user reads: what is banned, and what to write instead.

Read are every text in the code that is no docstring (errors, fixes, help, what is printed), the
docstrings of commands, the guides, the page templates and the recipes. To list what is found:
`python tests/test_wording.py`.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("medgym", "agents", "benchmarks", "evals", "tools", "train")
TEXTS = (
    "README.md",
    "docs/*.md",
    "evals/viewer/page/*.j2",
    "evals/viewer/page/*.js",
    "train/recipes/*.toml",
)

BANNED = {
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:leave|leaves|leaving|left)(?: [\w`]+){0,2} away": "omit, leave out",
    r"(?:go|goes|going|gone|went) on (?:with|from|by|without)": "resume, continue",
    r"(?:break|breaks|broke|broken|breaking) off": "interrupt",
    r"who(?:m?)ever": "the caller, anyone who, anything that",
    r"(?:nobody|everybody)": "none, all, no one",
    r"anew": "again",
    r"alone": "only",
    r"in a share": "with probability",
    r"without a word": "silently",
    r"(?<=,\s)as(?= (?:in |by )?[`'\"]?[\w./-]+[:=\[({])": "such as",
}
"""Words and turns that read as translated, as regular expressions, and plain ones for them."""

_PATTERNS = {
    re.compile(rf"(?<![\w-]){banned}(?![\w-])".replace(" ", r"\s+"), re.IGNORECASE): plain
    for banned, plain in BANNED.items()
}


def wordings(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, what is banned, what to write) for each banned wording, across line ends too."""
    for pattern, plain in _PATTERNS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), plain


def visible(tree: ast.Module, commands: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, text) of every text of a file that a user may read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in commands:
            yield node.lineno, ast.get_docstring(node) or ""
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.Expr):
                continue  # a docstring, or one of an attribute
            if isinstance(child, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in child.values]
                yield child.lineno, "".join(map(str, parts))
            elif isinstance(node, ast.JoinedStr):
                continue  # a piece of a text that is read as a whole
            elif isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield child.lineno, child.value


def found(root: Path) -> list[str]:
    """Every banned wording in what a user reads under a folder."""
    points = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    registered = {tuple(value.split(":")) for value in points["medgym.commands"].values()}
    listed = []
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            dotted = ".".join(path.relative_to(root).with_suffix("").parts)
            homes = {dotted, f"medgym.{dotted}"}
            commands = {name for home, name in registered if home in homes} | set(_commands(tree))
            for line, text in visible(tree, frozenset(commands)):
                for down, word, plain in wordings(text):
                    where = f"{path.relative_to(root)}:{line + down - 1}"
                    listed.append(f"{where}: {word!r}; write: {plain}")
    for pattern in TEXTS:
        for path in sorted(root.glob(pattern)):
            for line, word, plain in wordings(path.read_text("utf-8")):
                listed.append(f"{path.relative_to(root)}:{line}: {word!r}; write: {plain}")
    return listed


def _commands(tree: ast.Module) -> Iterator[str]:
    """Functions that a Typer app calls: their docstrings are its help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if re.search(r"\.(?:command|callback)\b", ast.unparse(decorator)):
                    yield node.name


def test_what_a_user_reads_is_plain_english() -> None:
    assert found(ROOT) == []


EXAMPLES = (
    "mend: install it", "it was Mended", "leave the tools away", "tools left away",
    "it goes on with the rest", "go on\n  with it", "a run that was broken off", "Whoever calls",
    "to whomever", "nobody looks", "everybody votes", "begin anew", "tools alone",
    "in a share of cases", "lost without a word",
    "name a slice, as phantom:test[:4]", "give one, as `--out=x`",
)  # fmt: skip
HARMLESS = (
    "amend it, commend it", "go away", "it goes on", "turn it off", "however", "standalone",
    "a share of", "renewed", "name a slice, such as phantom:test[:4]", "the same, as before",
    "as phantom: it is",
)  # fmt: skip


@pytest.mark.parametrize("banned", BANNED)
def test_each_wording_has_an_example(banned: str) -> None:
    pattern = list(_PATTERNS)[list(BANNED).index(banned)]
    assert any(pattern.search(example) for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_banned_wording_is_found(example: str) -> None:
    assert list(wordings(example))


@pytest.mark.parametrize("text", HARMLESS)
def test_a_plain_wording_is_not(text: str) -> None:
    assert list(wordings(text)) == []


PLANTED = {
    "an error": ("tools/a.py", 'raise UserError("no view; mend: name one")'),
    "an error in pieces": ("tools/a.py", 'raise UserError(f"run {name} was broken " "off")'),
    "a table of texts": ("train/a.py", 'FIXES = {"a": "leave it; or begin anew"}'),
    "an option": ("train/commands/a.py", 'Option(help="Go on with the run.")'),
    "a command's help": ("evals/a.py", '@app.command("x")\ndef f():\n    """Whoever."""'),
    "a registered command's help": ("medgym/commands/play.py", 'def play():\n    """Play anew."""'),
    "a guide": ("docs/a.md", "Nobody\nlooks.\n"),
    "the readme": ("README.md", "This alone."),
    "a page": ("evals/viewer/page/a.html.j2", "<p>left\n   away</p>"),
    "a script of a page": ("evals/viewer/page/a.js", "show('everybody')"),
    "a recipe": ("train/recipes/a.toml", "# in a share of cases\n"),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_wording_is_found(planted: tuple[str, str], tmp_path: Path) -> None:
    path, text = planted
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."medgym.commands"]\nplay = "medgym.commands.play:play"\n'
    )
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    # What only those who read the code see is theirs to word.
    (tmp_path / "medgym").mkdir(exist_ok=True)
    (tmp_path / "medgym/b.py").write_text('"""Whoever."""\ndef play():\n    """Anew."""\n')
    assert found(tmp_path) == []
    (tmp_path / path).write_text(text)
    (hit,) = found(tmp_path)
    assert hit.startswith(f"{path}:")


if __name__ == "__main__":
    sys.exit("\n".join(found(ROOT)) or None)
