"""What an evaluation records of itself: the run's recipe, and the content of `results.json`."""

from collections.abc import Mapping
from typing import Any

from medgym.case_notes import notes_of
from medgym.policy import Policy
from medgym.spec import without_credentials
from medgym.storage.results import RESULTS, results
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.tool_record import tool_facts

from ..outcomes.table import write_outcomes
from .benchmark import Benchmark
from .judging import JudgedBenchmark

NOT_JUDGED = "not_judged"
"""The key of `results.json` that says which benchmarks could not be judged, and why."""


def asked_of(suite: Suite, seed: int, **more: Any) -> dict[str, Any]:
    """What was asked, as `results.json` holds it.

    Args:
        more: what else was asked. What is at its default (None, 1, or empty) is left out.
    """
    sampling = suite.sampling
    return {
        "command": "eval",
        "seed": seed,
        "tools": [without_credentials(spec) for spec in suite.tools],
        "rubric": suite.rubric,
        "max_turns": suite.max_turns,
        "judge": suite.judge,
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        },
        **{name: value for name, value in more.items() if value not in (None, 1, "")},
    }


def recipe_of(
    suite: Suite,
    asked: Mapping[str, Any],
    policy: Policy,
    benchmarks: Mapping[str, Benchmark],
    view_size: int | None,
) -> dict[str, Any]:
    """What was asked, as the run's `recipe.toml` holds it."""
    asked = dict(asked)
    sampling: dict[str, Any] = asked.pop("sampling")
    if suite.name:
        where: dict[str, Any] = {"suite": suite.name, "cases": dict(suite.benchmarks)}
    else:
        view_size = benchmarks[""].rules.view_size
        where = {"cases": suite.benchmarks[""]}
    where["view_size"] = view_size  # None, which is left out, where a suite's cases say it
    played = (tool_facts(each.rules.tools) for each in benchmarks.values())
    facts = {name: said for each in played for name, said in each.items()}
    return asked | facts | sampling | where | {"policy": policy.spec} | policy.describe()


def content_of(
    suite: Suite,
    asked: Mapping[str, Any],
    benchmarks: Mapping[str, Benchmark],
    found: Mapping[str, JudgedBenchmark],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of `results.json`."""
    way = "sampled" if suite.sampling.temperature else "greedy"
    asked = dict(asked)
    parts: dict[str, dict[str, Any]] = {
        name: {
            "cases": suite.benchmarks[name],
            "view_size": benchmarks[name].rules.view_size,
            "policies": {each.judgement.policy: {way: each.as_dict()}},
            **notes_of([(suite.benchmarks[name], benchmarks[name].cases)]),
        }
        for name, each in found.items()
    }
    if suite.name:
        asked |= {"suite": suite.name}
        if suite.published:
            asked["published"] = [vars(figure) for figure in suite.published]
        return results(asked, parts, seconds, of="benchmarks")
    (part,) = parts.values()
    policies = part.pop("policies")
    return results(asked | part, policies, seconds)


def write_results(
    folder: RunFolder,
    suite: Suite,
    benchmarks: Mapping[str, Benchmark],
    found: Mapping[str, JudgedBenchmark],
    content: Mapping[str, Any],
) -> None:
    """Write what the evaluation came to, and say that the run is done.

    It is not where a benchmark could not be judged: the same command then plays what is missing.
    """
    write_outcomes(folder.path, (row for each in found.values() for row in each.outcomes))
    folder.write_json(RESULTS, content)
    said = [(suite.benchmarks[name], each.cases) for name, each in benchmarks.items()]
    if notes := notes_of(said):
        folder.note(**notes)
    if NOT_JUDGED in content:
        folder.release()
    else:
        folder.finish()
