"""What the record of a run keeps of its tools: their specs, fidelities and versions."""

from collections.abc import Iterable, Sequence

from medgym.spec import without_credentials
from medgym.tool import Tool


def spec_of(tool: Tool) -> str:
    """The spec that a tool was made of, without a password; its name, where it was made in code."""
    return without_credentials(tool.spec or tool.name)


def specs_of(tools: Iterable[Tool]) -> list[str]:
    """The specs that some tools were made of, as a run's record keeps them, each once."""
    return list(dict.fromkeys(spec_of(tool) for tool in tools))


def tool_facts(tools: Sequence[Tool]) -> dict[str, dict[str, str]]:
    """What else a run's record keeps of its tools: what is not at its default, by the tool's name.

    `tool_fidelities` says which are not `vision`, and `tool_versions` which are not "1".
    """
    facts: dict[str, dict[str, str]] = {
        "tool_fidelities": {t.name: t.fidelity for t in tools if t.fidelity != "vision"},
        "tool_versions": {t.name: t.version for t in tools if t.version != "1"},
    }
    return {name: said for name, said in facts.items() if said}
