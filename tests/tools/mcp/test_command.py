"""`medgym mcp serve`: what is wrong with a command is one line, said before anything is served."""

from pathlib import Path

import pytest

from medgym.cli import main


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--http", "8765"), "fix: write HOST:PORT"),
        (("--http", "0.0.0.0:0"), "anyone who reaches 0.0.0.0 could see the images"),
        (("--tools", "zoom,open_imag"), "unknown tool 'open_imag'"),
        (("--token-file", "none"), "--token-file is of no use without --http"),
        (("--http", "127.0.0.1:0", "--token-file", "none"), "no such file with the token: none"),
    ],
)
def test_a_wrong_command(
    folder: Path,
    options: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MEDGYM_MCP_TOKEN", raising=False)
    assert main(["mcp", "serve", str(folder), *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert (len(shown.err.splitlines()), shown.out) == (1, "")


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "serve", str(tmp_path / "none")]) == 2
    assert "cannot read the folder" in capsys.readouterr().err
