"""The command `medgym rollout`: play episodes and keep them."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.asking import (
    AsJson,
    CasesSpec,
    MaxTokens,
    MaxTurns,
    NoTools,
    PolicySpec,
    RubricName,
    Seed,
    Temperature,
    ToolNames,
    ViewSize,
    cases_and_rules,
    tool_names,
)
from medgym.commands.printing import percent, print_json, print_table
from medgym.policy import Sampling, load_policy
from medgym.progress import progress
from medgym.rollout import collect as collected
from medgym.runs import RunFolder


def rollout(
    cases: CasesSpec,
    policy: PolicySpec,
    out: Annotated[
        Path, typer.Option("--out", metavar="runs/NAME", help="A new folder for the run.")
    ],
    group_size: Annotated[int, typer.Option("--group-size", min=1, help="Episodes a case.")] = 1,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    rubric: RubricName = "outcome",
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Play every case and keep the trajectories with every image that was shown.

    Example: medgym rollout phantom:train[:100] --policy scripted:random --out runs/random
    """
    chosen = tool_names(tools, no_tools)
    played, rules = cases_and_rules(
        cases, tools=chosen, rubric=rubric, max_turns=max_turns, view_size=view_size
    )
    player = load_policy(policy)
    asked = {
        "command": "rollout", "cases": cases, "policy": policy, "group_size": group_size,
        "tools": list(chosen), "rubric": rubric, "max_turns": max_turns,
        "view_size": rules.view_size, "temperature": temperature, "max_tokens": max_tokens,
        "seed": seed,
    }  # fmt: skip
    folder = RunFolder.create(out, asked, seeds={"run": seed})
    total, right, reward, answered = len(played) * group_size, 0, 0.0, 0
    stream = collected(
        played,
        player,
        rules,
        group_size=group_size,
        sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
        seed=seed,
        on_messages=folder.keep_images,
    )
    with progress("episodes", total) as advance:
        for done, trajectory in enumerate(folder.keep(stream), start=1):
            right += trajectory.correct
            answered += trajectory.answer is not None
            reward += trajectory.reward or 0.0
            advance(1, right=right / done)
    player.close()
    folder.finish()
    manifest = folder.manifest
    results = {
        "out": str(folder.path),
        "trajectories": manifest["counts"]["trajectories"],
        "correct": right / total,
        "answered": answered / total,
        "reward": reward / total,
        "content": manifest["content"]["trajectories"],
    }
    if as_json:
        print_json(results)
        return
    print_table(
        [
            ("run folder", str(folder.path)),
            ("trajectories", str(results["trajectories"])),
            ("right", percent(right / total)),
            ("answered", percent(answered / total)),
            ("mean reward", f"{reward / total:.3f}"),
            ("content", str(results["content"])),
        ]
    )
