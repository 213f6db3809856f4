"""The recipes that ship, each a TOML file whose head says what it does."""

from pathlib import Path

_HERE = Path(__file__).parent

tiny = _HERE / "tiny.toml"
tiny_no_tools = _HERE / "tiny-no-tools.toml"
