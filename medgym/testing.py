"""The conformance kit: `check_tool(tool)` plays a tool as episodes do and holds it to its contract.

For the author of a plug-in; medgym's own tools pass through the same checks. It needs no extra
library, draws its calls from the tool's own JSON schema, and repeats them exactly for a seed.
`medgym check tool NAME` makes the same checks, and says how each went.
"""

from medgym.tool import Tool
from medgym.tool_checks.breach import Breach
from medgym.tool_checks.run import CALLS, try_tool
from medgym.tool_checks.tried_images import CASES
from medgym.tool_checks.tried_images import PlainVolume as PlainVolume


def check_tool(tool: Tool, *, cases: str = CASES, calls: int = CALLS, seed: int = 0) -> None:
    """Check that a tool keeps its contract; for a plug-in's own tests.

    It has a name, a docstring, a fidelity and a JSON schema; malformed arguments and impossible
    requests raise `ToolError` and nothing else; the same call yields the same result, whatever was
    called before, alone or together with others; workspace and pixels stay as they were; views lie
    inside their image and within `view_size`; `data` survives JSON; every call ends within
    `deadline_s`, and within `memory_mb` where the tool has a budget. It is tried with `calls` calls
    on each of `cases` and on plain images of odd sizes and kinds: 1 x 1, 16 bits, a volume, 8192 x
    8192, a slide.

    Raises:
        AssertionError: the tool breaks its contract; the text says how, and by which call.
    """

    def on_breach(breach: Breach) -> None:
        raise breach

    try_tool(tool, on_breach, cases=cases, calls=calls, seed=seed)
