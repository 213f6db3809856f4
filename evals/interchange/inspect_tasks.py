"""Suites as tasks of inspect_ai: `inspect eval medgym/phantom --model MODEL`.

inspect_ai finds this module by the entry point `medgym` of its group. Each registered suite is a
task: its cases, medgym's tools as tools of inspect_ai (views come back as images), and the verdicts
of medgym's scorers. The episode is played by inspect_ai's own loop, so that `--solver`, `--epochs`,
`--limit` and its logs work as with any task.
"""

from collections.abc import Callable
from typing import Any

import anyio.to_thread
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
)
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    Score,
    Scorer,
    Target,
    accuracy,
    grouped,
    scorer,
    stderr,
)
from inspect_ai.solver import Generate, Solver, TaskState, chain, solver
from inspect_ai.tool import Tool, ToolDef, ToolParams

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import Episode, Rules
from medgym.messages import Final, Message, parse_action, render_call
from medgym.registry import names
from medgym.scorer import Grade, grade, load_scorer, scorer_name
from medgym.suite import Suite, load_suite
from medgym.tool import schema_of

from ..outcomes.lenient import lenient_grade
from ..suites.opening import opened
from .inspect_images import data_uri

FAIL_ABOVE = 0.05
"""The share of samples with an error at which a task ends, as with `medgym eval`."""

NO_ANSWER = "Error: expected a tool call, or <answer>...</answer>."


class Benchmarks:
    """The cases and the rules of a suite's benchmarks, and the case of each sample."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self._parts: dict[str, tuple[CaseList, Rules]] = opened(suite, self._open)

    def _open(self, spec: str) -> tuple[CaseList, Rules]:
        cases = open_cases(spec)
        # The replies are counted by the solver; here each call is a reply of its own.
        rules = Rules.for_cases(
            cases, tools=self.suite.tools, rubric=self.suite.rubric, max_turns=10**9
        )
        return cases, rules

    def samples(self) -> list[Sample]:
        """A sample for each case; images are drawn when it is played."""
        several = len(self._parts) > 1
        return [
            Sample(
                id=f"{name}/{case.id}" if several else case.id,
                input=case.question,
                target=case.answer,
                metadata={
                    "benchmark": name,
                    "case": case.id,
                    "group": f"{case.source}/{case.group or case.id}",
                    "options": list(case.options),
                    "modality": case.modality,
                    "body_part": case.body_part,
                    "language": case.language,
                },
            )
            for name, (cases, _) in self._parts.items()
            for case in cases
        ]

    def case(self, state: TaskState) -> tuple[Case, Rules]:
        """The case of a sample, and the rules of its benchmark."""
        cases, rules = self._parts[state.metadata["benchmark"]]
        return cases.find(state.metadata["case"]), rules


@solver
def begin(benchmarks: Benchmarks) -> Solver:
    """Begin an episode: its instructions and question become the messages, its tools the tools."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        case, rules = benchmarks.case(state)
        episode = await anyio.to_thread.run_sync(rules.begin, case)
        _, question = episode.messages
        told = rules.offer.instructions if rules.offer is not None else rules.instructions
        content = await anyio.to_thread.run_sync(_content, question)
        state.messages = [ChatMessageSystem(content=told), ChatMessageUser(content=content)]
        state.tools = [_inspect_tool(schema_of(tool), episode) for tool in rules.tools]
        return state

    return solve


@solver
def replies(most: int) -> Solver:
    """Let the model reply until it answers, up to `most` times.

    A reply that neither calls nor answers costs one of them and is told what was expected.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for left in reversed(range(most)):
            state = await generate(state, tool_calls="single")
            said = state.output.message
            if state.completed or (not said.tool_calls and answer_of(state) is not None):
                break
            if not said.tool_calls and left:
                state.messages.append(ChatMessageUser(content=NO_ANSWER))
        return state

    return solve


def answer_of(state: TaskState) -> str | None:
    """What the last reply has between `<answer>` and `</answer>`, in the form of rewards."""
    action = parse_action(state.output.completion)
    return action.answer if isinstance(action, Final) else None


def _content(message: Message) -> list[Content]:
    images: list[Content] = [ContentImage(image=data_uri(part.image)) for part in message.images]
    return [*images, ContentText(text=message.text)]


def _inspect_tool(schema: dict[str, Any], episode: Episode) -> Tool:
    """A tool of inspect_ai that does a call of one tool in an episode."""
    name = str(schema["name"])

    async def execute(**kwargs: Any) -> list[Content]:
        shown = await anyio.to_thread.run_sync(episode.step, render_call(name, kwargs))
        assert shown is not None  # the episode has no end of its own
        return await anyio.to_thread.run_sync(_content, shown)

    return ToolDef(
        execute,
        name=name,
        description=str(schema["description"]),
        parameters=ToolParams.model_validate(
            {key: schema["parameters"][key] for key in ("properties", "required")
             if key in schema["parameters"]}
        ),
    ).as_tool()  # fmt: skip


METRICS = [grouped(accuracy(), "benchmark"), stderr(cluster="group")]


@scorer(metrics=METRICS)
def strict(benchmarks: Benchmarks) -> Scorer:
    """Whether the answer is right, in the one form that rewards count."""

    async def score(state: TaskState, target: Target) -> Score:
        case, _ = benchmarks.case(state)
        return _score(case, grade(case, answer_of(state)), answer_of(state))

    return score


@scorer(metrics=METRICS)
def lenient(benchmarks: Benchmarks) -> Scorer:
    """Whether the answer is right, in whatever form the last reply has it."""

    async def score(state: TaskState, target: Target) -> Score:
        case, _ = benchmarks.case(state)
        found, reply = grade(case, answer_of(state)), state.output.completion
        if not found.right and reply:
            found = max(found, lenient_grade(case, reply), key=lambda each: each.score)
        return _score(case, found, answer_of(state))

    return score


def _score(case: Case, found: Grade, answer: str | None) -> Score:
    name = scorer_name(case)
    version = load_scorer(name).version
    return Score(
        value=CORRECT if found.right else INCORRECT,
        answer=answer,
        explanation=f"{found.verdict}, by {name} {version}",
        metadata={
            "verdict": found.verdict, "score": found.score, "scorer": name, "version": version,
        },
    )  # fmt: skip


def suite_task(name: str, only: str | list[str] | None = None) -> Task:
    """A suite as a task.

    Args:
        name: of the suite. only: some of its benchmarks, with commas between them or as a list,
            which `-T only=A,B` gives.
    """
    suite = load_suite(name)
    wanted = ",".join(only) if isinstance(only, list) else only
    benchmarks = Benchmarks(suite if wanted is None else suite.only(wanted))
    sampling = suite.sampling
    return Task(
        dataset=MemoryDataset(benchmarks.samples(), name=name),
        setup=begin(benchmarks),
        solver=chain(replies(suite.max_turns)),
        scorer=[strict(benchmarks), lenient(benchmarks)],
        config=GenerateConfig(
            temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens
        ),
        fail_on_error=FAIL_ABOVE,
        metadata={"medgym_suite": name, "source": suite.source},
    )


def _registered(name: str) -> Callable[..., Task]:
    def suite(only: str | list[str] | None = None) -> Task:
        return suite_task(name, only)

    suite.__doc__ = f"The suite {name} of medgym."
    made: Callable[..., Task] = task(name=name)(suite)
    return made


TASKS = {name: _registered(name) for name in names("suites")}
"""The task of each registered suite, which `inspect eval medgym/NAME` runs."""
