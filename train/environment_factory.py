"""Episodes for TRL's own tool loop: `GRPOTrainer(environment_factory=trl_environment(...))`.

TRL makes one environment for each rollout, resets it for each example, calls its public methods as
tools and asks it for the reward. It never shows an environment what the policy wrote besides calls,
so here the answer is a call too: of the tool `answer`. Everything else is an `Episode`, with the
tools, views, errors and rubric that it has everywhere.

    from medgym.train import trl_environment

    looking = trl_environment("phantom:train")
    GRPOTrainer(..., train_dataset=looking.dataset(), environment_factory=looking)

Our own rollouts (`LookingTrainer`, `medgym train`) hold token ids and play at their own pace; TRL's
loop does neither. This is for authors who want to keep their own training script.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from medgym.cases import Case, open_cases
from medgym.episode import DEFAULT_TOOLS, Episode, Rules
from medgym.errors import UserError, missing_library
from medgym.messages import render_answer, render_call
from medgym.rubric import Rubric
from medgym.tool import Tool
from medgym.workspace import Coordinates

if TYPE_CHECKING:
    import datasets

ANSWER = "answer"
"""The tool that ends an episode."""

OVER = "The episode is over."
"""What a call reads after the answer; TRL lets the policy go on as long as it calls."""

Content = list[dict[str, Any]]


def trl_environment(
    cases: str | Sequence[Case] = "phantom:train",
    tools: Sequence[str | Tool] = DEFAULT_TOOLS,
    rubric: str | Rubric = "outcome",
    *,
    view_size: int | None = None,
    view_multiple: int = 1,
    coordinates: Coordinates = "thousandths",
) -> "Environments":
    """What `GRPOTrainer` takes as `environment_factory`.

    The policy's replies are limited by `GRPOConfig(max_tool_calling_iterations=...)`, and all
    tokens of an episode after its question, images included, by `max_completion_length`.

    Args:
        cases: a case spec, or a sequence of cases.
        tools: names of registered tools, or `Tool` objects.
        rubric: name of a registered rubric, or a `Rubric`: its total is the reward.
        view_size, view_multiple, coordinates: as in `Rules`.

    Raises:
        UserError: unknown cases, tool or rubric, or a tool whose arguments TRL cannot describe.
    """
    found = open_cases(cases)
    rules = Rules.for_cases(
        found,
        tools=tools,
        rubric=rubric,
        max_turns=sys.maxsize,  # TRL counts the turns
        view_size=view_size,
        view_multiple=view_multiple,
        coordinates=coordinates,
    )
    return Environments(found, rules)


class Environments:
    """Makes the environments of a training run; called by TRL.

    Args:
        cases, rules: what is played, and how.
    """

    def __init__(self, cases: Sequence[Case], rules: Rules) -> None:
        self._cases = cases
        self._rules = rules
        self._made = 0
        self._round = -1
        methods = {tool.name: _method(tool) for tool in rules.tools}
        if ANSWER in methods:
            raise UserError(
                f"a tool is named {ANSWER!r}, as the call that ends an episode; fix: rename it"
            )
        self._kind = type("Looking", (_Environment,), methods)

    def __call__(self) -> "_Environment":
        """A new environment, to be reset before it is used."""
        made: _Environment = self._kind(self, self._rules, self._made)
        self._made += 1
        return made

    def dataset(self) -> "datasets.Dataset":
        """One row for each case, which TRL hands to `reset`: the rows of a group play one case.

        Without a data set TRL tells an environment nothing of its row or group; then all episodes
        of a step play one case.
        """
        try:
            from datasets import Dataset
        except ModuleNotFoundError as error:
            raise missing_library(error) from error
        return Dataset.from_dict({"case": range(len(self._cases))})

    def case(self, row: int | None, number: int) -> Case:
        """The case of a data set's row; without one, of this step, which environment 0 begins."""
        if row is not None:
            return self._cases[row]
        self._round += number == 0
        return self._cases[max(self._round, 0) % len(self._cases)]


class _Environment:
    """One rollout's episode; subclasses add a method for each tool."""

    def __init__(self, home: Environments, rules: Rules, number: int) -> None:
        self._home = home
        self._rules = rules
        self._number = number
        self._episode: Episode | None = None
        self._crashed = False

    def reset(self, case: int | None = None, **_: Any) -> Content:
        """Begin the episode of a row of `Environments.dataset()`.

        Returns:
            The instructions and the question with its images, as chat content.
        """
        self._episode = self._rules.begin(self._home.case(case, self._number))
        self._crashed = False
        told = {"type": "text", "text": _instructions(self._rules) + "\n\n"}
        return [told, *self._episode.messages[1].chat()["content"]]

    def answer(self, answer: str) -> str:
        """Give the final answer; this ends the episode.

        Args:
            answer: The answer; of options, the letter.
        """
        episode = self._playing()
        if not episode.done:
            episode.step(render_answer(answer))
        return OVER

    def get_reward(self) -> float | None:
        """The rubric's total; None, which leaves the rollout out, where a tool has crashed."""
        if self._crashed:
            return None
        episode = self._playing()
        if not episode.done:
            episode.truncate()
        assert episode.score is not None
        return episode.score.total

    def _playing(self) -> Episode:
        if self._episode is None:
            raise RuntimeError("reset before the first call")
        return self._episode

    def _do(self, name: str, arguments: dict[str, Any]) -> Content | str:
        episode = self._playing()
        if episode.done:
            return OVER
        try:
            message = episode.step(render_call(name, arguments))
        except Exception:
            self._crashed = True
            raise
        assert message is not None  # there is no turn limit here
        content: Content = message.chat()["content"]
        return content


def _method(tool: Tool) -> Callable[..., Content | str]:
    """The tool as a typed method whose docstring tells of it as transformers reads them."""

    def call(self: _Environment, **arguments: Any) -> Content | str:
        return self._do(tool.name, arguments)

    schema = tool.schema()["parameters"].get("properties", {})
    lines = [f"    {name}: {_told(name, schema[name])}" for name in schema]
    told = ["", "Args:", *lines] if lines else []
    call.__doc__ = "\n".join([tool.description, *told])
    call.__name__ = call.__qualname__ = tool.name
    fields = {n: each for n, each in tool.Args.model_fields.items() if n in schema}
    call.__annotations__ = {name: field.annotation for name, field in fields.items()}
    kind = inspect.Parameter.KEYWORD_ONLY
    missing = inspect.Parameter.empty
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(
                    name,
                    kind,
                    annotation=field.annotation,
                    default=missing if field.is_required() else field.get_default(),
                )
                for name, field in fields.items()
            ),
        ]
    )
    _check(tool, call)
    return call


def _told(name: str, schema: dict[str, Any]) -> str:
    """An argument's description, wherever it stands in its schema."""
    places = (schema, *schema.get("anyOf", ()))
    told = next((place["description"] for place in places if "description" in place), name)
    return " ".join(str(told).split())


def _check(tool: Tool, method: Callable[..., Any]) -> None:
    """TRL has transformers describe the method to the policy; what it cannot describe, it raises on
    in the middle of training."""
    try:
        from transformers.utils import get_json_schema
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    try:
        get_json_schema(method)
    except Exception as error:
        raise UserError(
            f"TRL cannot describe the tool {tool.name!r} ({str(error).splitlines()[0][:120]}); "
            "fix: give its arguments plain types"
        ) from error


def _instructions(rules: Rules) -> str:
    frame = (
        "in thousandths of its view (0 to 1000)"
        if rules.coordinates == "thousandths"
        else "in pixels of its view"
    )
    return (
        "Answer the question about the images. Views of them are numbered from 0.\n"
        f"A box is [x0, y0, x1, y1] {frame}, from the top left.\n"
        f"Use tools to look closer, and call {ANSWER} to answer; of options, give the letter."
    )
