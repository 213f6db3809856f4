"""Tool specs: options reach `__init__` as their annotations say, and what is wrong is one line."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest

import medgym.registry
import medgym.tool_spec
from medgym.commands.shared_options import tool_names
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.protocol import differing_protocol
from medgym.policy import load_policy
from medgym.rollout.request import request_of
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.tool_record import spec_of, specs_of, tool_facts
from medgym.tool_spec import plug_in_of
from medgym.workspace import Workspace


class Feel(Tool):
    """Feel."""

    name = "feel"
    version = "2"

    class Args(ToolArgs):
        """Nothing."""

    def __init__(
        self,
        fidelity: Literal["vision", "predicted", "oracle"] = "vision",
        *,
        dice: float = 0.9,
        most: int | None = None,
        folder: Path = Path(),
        words: str = "",
    ) -> None:
        self.fidelity = fidelity
        self.given = (dice, most, folder, words)

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult("felt")


class Needy(Feel):
    """Need a thing."""

    name = "needy"

    def __init__(self, model: str, **rest: str) -> None:
        self.given = (model, rest)  # type: ignore[assignment]


def several(rest: str) -> list[Tool]:
    """Two tools, as a server might offer them."""
    made = [Feel(words=rest), Needy(model=rest)]
    return made[: 0 if rest == "empty" else 2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    group = medgym.registry._group
    added = {
        "tools": {"feel": "Feel", "needy": "Needy"},
        "tool_sources": {"far": "several"},
    }

    def with_more(kind: str) -> Any:
        points = {n: (EntryPoint(n, f"{__name__}:{v}", f"medgym.{kind}"),)
                  for n, v in added.get(kind, {}).items()}  # fmt: skip
        return group(kind) | points

    monkeypatch.setattr(medgym.registry, "_group", with_more)


def given(spec: str) -> Any:
    (tool,) = load_tools([spec])
    return tool.given  # type: ignore[attr-defined]


def test_options_are_read_as_their_annotations_say() -> None:
    assert given("feel") == (0.9, None, Path(), "")
    assert given("feel?dice=0.8&most=3&folder=/a/b&words=a%2Cb") == (0.8, 3, Path("/a/b"), "a,b")
    assert given('feel?words="a, ""b"" & c?"') == (0.9, None, Path(), 'a, "b" & c?')
    assert given("needy?model=x&other=1") == ("x", {"other": "1"})
    (tool,) = load_tools(["feel?fidelity=oracle"])
    assert (tool.fidelity, tool.spec) == ("oracle", "feel?fidelity=oracle")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("feel?dise=0.8", "unknown option of the tool feel 'dise'; did you mean 'dice'?"),
        ("feel?dice=high", "the tool feel: dice='high': input should be a valid number"),
        ("feel?fidelity=orakle", "unknown fidelity of the tool feel 'orakle'; did you mean"),
        ("feel?dice=0.8&dice=0.9", "dice is given twice"),
        ("feel?dice=", "dice has no value"),
        ("feel?", "has no option after the ?"),
        ('feel?words="a', "quotation mark that is not closed"),
        ("needy", "needs the option model; fix: write needy?model=VALUE"),
        ("zoom?deep=1", "the tool zoom takes no options; fix: write zoom"),
        ("feal?dice=1", "unknown tool 'feal'; did you mean 'feel'?"),
        ("fir:there", "unknown tool source 'fir'; did you mean 'far'?"),
        ("far:empty", "far:empty has no tools"),
    ],
)
def test_what_is_wrong_with_a_spec_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_tools([spec])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_scheme_yields_several_tools_of_one_spec() -> None:
    tools = load_tools(["zoom", "far:http://user:pass@host/a%20b"])
    assert [tool.name for tool in tools] == ["zoom", "feel", "needy"]
    assert tools[2].given[0] == "http://user:pass@host/a%20b"  # type: ignore[attr-defined]
    assert specs_of(tools) == ["zoom", "far:http://host/a%20b"]
    assert load_tools(['far:"run a,b"'])[1].given[0] == "run a,b"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="'feel' is given twice"):
        load_tools(["far:x", "feel?most=1"])


def test_a_list_of_specs_is_split_at_its_commas_only() -> None:
    assert tool_names('zoom, feel?words="a,b"&most=1,far:"run c,d"', False) == (
        "zoom", 'feel?words="a,b"&most=1', 'far:"run c,d"',
    )  # fmt: skip
    assert tool_names("zoom,crop", False) == ("zoom", "crop")
    with pytest.raises(UserError, match='put that in quotes: NAME\\?key="a,b"'):
        tool_names("feel?words=a,b", False)
    with pytest.raises(UserError, match="names no tool"):
        tool_names("zoom,,crop", False)


def test_a_record_keeps_the_spec_and_what_is_not_usual() -> None:
    policy = load_policy("scripted:random")

    def asked(*tools: str | Tool) -> dict[str, Any]:
        rules = Rules.for_cases("phantom:train[:1]", tools=tools)
        return request_of(
            "phantom:train", policy, rules, sampling=None, group_size=1, seed=0
        )  # fmt: skip

    plain = asked("zoom")
    assert plain["tools"] == ["zoom"]
    assert not {"tool_fidelities", "tool_versions"} & plain.keys()
    one = asked("zoom", "feel?fidelity=oracle")
    assert one["tools"] == ["zoom", "feel?fidelity=oracle"]
    assert one["tool_fidelities"] == {"feel": "oracle"}
    assert one["tool_versions"] == {"feel": "2"}
    assert asked("zoom", "feel?dice=0.5")["tools"] != one["tools"]
    assert spec_of(Feel(fidelity="oracle")) == "feel"
    assert tool_facts([Feel(fidelity="oracle")])["tool_fidelities"] == {"feel": "oracle"}


def test_a_comparison_names_another_back_end() -> None:
    records = [
        {"tools": specs_of(tools), **tool_facts(tools)}
        for tools in (load_tools(["feel"]), load_tools(["feel?fidelity=oracle"]))
    ]
    assert differing_protocol(*records) == [
        "tools: feel and feel?fidelity=oracle",
        "tool_fidelities: none and feel oracle",
    ]


def test_a_spec_names_its_plug_in() -> None:
    assert plug_in_of("feel?folder=C:/x") == ("tools", "feel")
    assert plug_in_of("far:x?y=1") == ("tool_sources", "far")
