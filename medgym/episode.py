"""An episode: the rules of play for one case, without Gymnasium.

`MedEnv` and `rollout` both play through this class, so there is one set of rules. Nothing that a
policy writes raises: a malformed reply, an unknown tool, a box outside the image are observations
that say what was expected. What is handed out (messages, views, observations) leads to no gold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

from medgym.case_images import (
    asked_view_size,
    check_regions,
    check_view_size,
    names_of,
    opened_images,
)
from medgym.cases import Case, open_cases
from medgym.contracts import checked_reply, checked_result, fault_of
from medgym.errors import Fault, ToolError, UserError, unknown
from medgym.failures import at
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Study
from medgym.instructions import instructions
from medgym.messages import (
    MAX_CALLS,
    MAX_TEXT,
    Action,
    CallResult,
    Calls,
    Final,
    ImagePart,
    Malformed,
    Message,
    Reply,
    TextPart,
    ToolCall,
    ToolOffer,
    message,
    parse_action,
    shortened,
)
from medgym.numbers_as_text import parsed
from medgym.question import caption_of, question_of
from medgym.rubric import Rubric, Score, load_rubric, outcome
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools, schema_of
from medgym.tool_call import used
from medgym.workspace import Coordinates, View, Workspace

DEFAULT_TOOLS = ("zoom",)

DEFAULT_MAX_TURNS = 6

DEFAULT_VIEW_SIZE = 448
"""Side of a view where neither the caller nor the cases say otherwise: 16 x 16 visual tokens of
28 pixels, as Qwen-VL counts them."""


@dataclass(frozen=True)
class ToolOutcome:
    """One tool call and its result.

    Attributes:
        call: the call as the policy wrote it: `name` and unchecked `arguments`. A box in it is in
            the policy's coordinates (`Rules.coordinates`), relative to the view it names.
        text: the tool's text, or `Error: ...` for a call that was refused or is late.
        views: the views that the call made. `view.box_px` is in pixels of the original image
            `view.image`, from the top left: (x0, y0, x1, y1).
        data: what the tool recorded for rubrics and readers of a run. No policy sees it.
        fault: what was wrong with a refused call, `late` and `memory` for a call that passed its
            tool's limits (no mistake of the policy), None for a call that was carried out.
        as_text: arguments in which the policy wrote numbers as texts; the call was carried out as
            it was meant.
    """

    call: ToolCall
    text: str
    views: tuple[View, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    as_text: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the call was refused or late."""
        return self.fault is not None


@dataclass(frozen=True)
class Turn:
    """One reply of the policy and its effects.

    Attributes:
        reply: the text that the policy wrote.
        action: how it was read: `Calls` (tool calls), `Final` (an answer) or `Malformed`. Each has
            the text of `<think>` as `think`, None without one.
        outcomes: one for each tool call, in order; empty for an answer and a malformed reply.
    """

    reply: str
    action: Action
    outcomes: tuple[ToolOutcome, ...] = ()


@dataclass(frozen=True)
class Rules:
    """Everything about playing that does not depend on the case.

    `Rules.for_cases` takes names of tools and of a rubric, and finds the view size of the cases.

    Attributes:
        tools: what a reply may call.
        rubric: what is rewarded.
        max_turns: replies after which the episode is truncated.
        max_tokens: token budget of an episode, prompts and images included; None for no limit.
        view_size: greatest side of a view, in pixels.
        view_multiple: each side of a view is the nearest multiple of so many pixels, so that the
            image processor of a model that rounds sides takes views as they are (28 of Qwen2.5-VL,
            32 of Qwen3-VL; see `medgym.view_multiple_for`).
        coordinates: how a policy writes boxes: in `"thousandths"` of a view, or in its `"pixel"`s.
        prompt: who plays, as a role's prompt says; it goes before the instructions.

    Raises:
        UserError: a tool that cannot be played with (see `load_tools`), or a value out of range.
    """

    tools: tuple[Tool, ...] = ()
    rubric: Rubric = field(default_factory=outcome)
    max_turns: int = DEFAULT_MAX_TURNS
    max_tokens: int | None = None
    view_size: int = DEFAULT_VIEW_SIZE
    view_multiple: int = 1
    coordinates: Coordinates = "thousandths"
    prompt: str = ""

    def __post_init__(self) -> None:
        given: Sequence[object] = self.tools
        if not all(isinstance(tool, Tool) for tool in given):
            raise UserError(
                f"Rules take Tool objects, not {self.tools!r}; fix: write "
                "medgym.Rules.for_cases(cases, tools=['zoom']), or medgym.load_tools(['zoom'])"
            )
        object.__setattr__(self, "tools", load_tools(self.tools))
        if self.max_turns < 1:
            raise UserError(f"max_turns is {self.max_turns}; fix: allow at least one turn")
        if self.coordinates not in get_args(Coordinates):
            raise unknown("coordinates", self.coordinates, get_args(Coordinates))
        rubric: object = self.rubric
        check_view_size(self.view_size, self.view_multiple)
        if not isinstance(rubric, Rubric):
            raise UserError(
                f"Rules take a Rubric, not {rubric!r}; fix: write medgym.load_rubric('outcome')"
            )

    @classmethod
    def for_cases(
        cls,
        cases: str | Sequence[Case],
        *,
        tools: Sequence[str | Tool] = DEFAULT_TOOLS,
        rubric: str | Rubric = "outcome",
        max_turns: int = DEFAULT_MAX_TURNS,
        max_tokens: int | None = None,
        view_size: int | None = None,
        view_multiple: int = 1,
        coordinates: Coordinates = "thousandths",
        prompt: str = "",
    ) -> "Rules":
        """The rules of play for these cases: the one home of the defaults.

        Args:
            cases: a spec such as `"phantom:train"`, or a sequence of cases. They set the view size
                where `view_size` is None: that of their source, or, where a list or a file says
                none, that of the source of the first image, else `DEFAULT_VIEW_SIZE`.
            tools: names of registered tools, or `Tool` objects.
            rubric: the name of a registered rubric, or a `Rubric`.
            max_turns, max_tokens, view_multiple, coordinates, prompt: as the attributes of `Rules`.

        Raises:
            UserError: unknown cases, tool or rubric, or a value out of range.
        """
        if view_size is None:
            view_size = asked_view_size(open_cases(cases)) or DEFAULT_VIEW_SIZE
        return Rules(
            tools=load_tools(tools),
            rubric=load_rubric(rubric),
            max_turns=max_turns,
            max_tokens=max_tokens,
            view_size=view_size,
            view_multiple=view_multiple,
            coordinates=coordinates,
            prompt=prompt,
        )

    @cached_property
    def instructions(self) -> str:
        """The system message of every episode: the prompt, then `instructions` of these tools."""
        return self._with_prompt(instructions(self.tools, self.coordinates))

    @cached_property
    def offer(self) -> ToolOffer | None:
        """The instructions in parts, for a model with its own form of tool calls."""
        if not self.tools:
            return None
        schemas = tuple(json.dumps(schema_of(tool), ensure_ascii=False) for tool in self.tools)
        how = instructions(self.tools, self.coordinates, form="native")
        return ToolOffer(schemas, self._with_prompt(how))

    def _with_prompt(self, how: str) -> str:
        return f"{self.prompt}\n{how}" if self.prompt else how

    def begin(self, case: Case, studies: Sequence[Study | OpenedImage] | None = None) -> "Episode":
        """A new episode of `case`; `studies` are its images where they are opened already."""
        return Episode(case, self, studies)


class Episode:
    """One policy on one case, from the question to the answer.

    A term of a rubric is called with the case and the finished episode. All its tool calls:
    `[outcome for turn in episode.turns for outcome in turn.outcomes]`.

    Attributes:
        workspace (Workspace): the images (`studies`) and all views so far (`views`). A view's
            `box_px` is in pixels of its original image, as a gold `Region.box_px` is.
        messages (list[Message]): the conversation so far: system, user, then replies and tool
            messages.
        turns (list[Turn]): the replies so far, each with its action and the results of its calls.
        answer (str | None): the text of the final `<answer>`; None where none was given.
        terminated (bool): an answer was given.
        truncated (bool): the budget of turns or tokens ran out before an answer.
        score (Score | None): what the rubric says; None until the end, and while the rubric's own
            terms are called.
    """

    def __init__(
        self, case: Case, rules: Rules, studies: Sequence[Study | OpenedImage] | None = None
    ) -> None:
        self._case = case
        self._rules = rules
        self._tools = {tool.name: tool for tool in rules.tools}
        self._tokens_left = rules.max_tokens
        images: Sequence[Study | OpenedImage] = (
            studies if studies is not None else opened_images(case)
        )
        check_regions(case, images)
        self.workspace = Workspace(
            images,
            view_size=rules.view_size,
            view_multiple=rules.view_multiple,
            coordinates=rules.coordinates,
            names=names_of(case),
        )
        for view in case.views:
            try:
                self.workspace.show(
                    view.image,
                    view.box_px,
                    plane=view.plane,
                    index=view.index,
                    slab=view.slab,
                    window=view.window,
                )
            except (ValueError, ToolError) as error:
                raise UserError(f"a view of {case.id}: {error}; fix: correct views") from error
        self.turns: list[Turn] = []
        self.answer: str | None = None
        self.terminated = False
        self.truncated = False
        self.score: Score | None = None
        system = rules.instructions
        question = question_of(case, self.workspace)
        if len(system) + len("\n\n") + len(question) > MAX_TEXT:  # as an observation joins them
            raise UserError(
                f"the instructions and the question of {case.id} have over {MAX_TEXT} characters; "
                "fix: offer fewer tools or a shorter context"
            )
        pictures = [ImagePart(view.number, view.shown) for view in self.workspace.views]
        self.messages: list[Message] = [
            Message("system", (TextPart(system),), offer=rules.offer),
            message("user", question, pictures),
        ]

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated

    def spend(self, tokens: int) -> None:
        """Count tokens against the token budget; the step that exceeds it truncates."""
        if self._tokens_left is not None:
            self._tokens_left -= tokens

    def truncate(self) -> None:
        """End the episode after its last whole turn: the next one would exceed the budget."""
        self.truncated = True
        self.score = self._rules.rubric.score(self._case, self)

    def step(self, reply: Reply | str) -> Message | None:
        """Play one reply. Returns the environment's next message, None when the episode is over.

        Raises:
            Failure: this is no reply, or a tool crashed or broke its contract.
            RunError: a term of the rubric did.
        """
        if self.done:
            raise RuntimeError("the episode is over; reset before the next step")
        with at("policy"):
            reply = shortened(checked_reply(reply))
        text = _encodable(reply.text)
        self.messages.append(Message("assistant", (TextPart(text),), reply))
        action = reply.malformed or parse_action(text, cut=reply.cut)
        outcomes: tuple[ToolOutcome, ...] = ()
        answer: Message | None = None
        if isinstance(action, Final):
            self.answer, self.terminated = action.answer, True
        elif isinstance(action, Calls):
            outcomes = tuple(self._call(call) for call in action.calls)
        self.turns.append(Turn(text, action, outcomes))
        spent = self._tokens_left is not None and self._tokens_left < 0
        if not self.terminated and (len(self.turns) >= self._rules.max_turns or spent):
            self.truncated = True
        if self.terminated or self.truncated:
            self.score = self._rules.rubric.score(self._case, self)
            return None
        if isinstance(action, Malformed):
            answer = message("tool", f"Error: {action.error}."[:MAX_TEXT])
        else:
            results = tuple(
                CallResult(_encodable(o.text), tuple(ImagePart(v.number, v.shown) for v in o.views))
                for o in outcomes
            )
            text = "\n".join(each.text for each in results)[:MAX_TEXT]
            shown = (part for each in results for part in each.images)
            answer = Message("tool", (*shown, TextPart(text)), results=results)
        self.messages.append(answer)
        return answer

    def _call(self, call: ToolCall) -> ToolOutcome:
        tool = self._tools.get(call.name)
        if tool is None:
            known = f"one of {', '.join(self._tools)}" if self._tools else "an answer"
            return _refused(call, f"there is no tool {call.name[:40]!r}; expected {known}", "name")
        with at("tool", call.name):
            shown = len(self.workspace.views)
            try:
                args, as_text = parsed(tool, call.arguments)
                used = self._use(tool, args, self.workspace)
            except ToolError as error:
                fault = fault_of(error)
                if fault == "late":  # it still runs, and may write into the workspace that it has
                    self.workspace = self.workspace.copy(shown)
                return _refused(call, str(error), fault)
            result = checked_result(used)
            views = tuple(self.workspace.add(view, made_by=call.name) for view in result.views)
            lines = [caption_of(view, self.workspace) for view in views]
            if result.text:
                lines.append(result.text)
            return ToolOutcome(
                call, _cut("\n".join(lines)), views, dict(result.data), None, as_text
            )

    def _use(self, tool: Tool, args: ToolArgs, workspace: Workspace) -> ToolResult:
        return used(tool, args, workspace, self._case)


def _refused(call: ToolCall, text: str, fault: Fault) -> ToolOutcome:
    return ToolOutcome(call, _cut(f"Error: {text}."), fault=fault)


def _cut(text: str) -> str:
    """A call's text within its share of a message."""
    most = MAX_TEXT // MAX_CALLS
    return text if len(text) <= most else text[: most - 6] + " [cut]"


def _encodable(text: str) -> str:
    """Lone surrogates are legal in str and illegal in UTF-8; they would break every file later."""
    return text.encode("utf-8", "replace").decode("utf-8")
