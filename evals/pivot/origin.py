"""The run whose episodes have the pivots: its episodes by benchmark, and the rules of these."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from medgym.cases import Case
from medgym.episode import DEFAULT_MAX_TURNS, Rules
from medgym.errors import UserError
from medgym.permissions import by_recipe
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..looking.stored import arms_of
from ..outcomes.stored import stored_episodes
from .places import Pivot, Pivots, Which

Episodes = list[tuple[Case, Trajectory]]


def episodes_of(folder: RunFolder, policy: str, limit: int | None) -> dict[str, Episodes]:
    """The episodes of a run by benchmark.

    Of an evaluation in several arms only those with the tools on have pivots: without tools nothing
    is called, and an ideal look is no choice of the policy.

    Args:
        policy: of a training, the one that played. limit: at most so many episodes of each.

    Raises:
        UserError: as of `stored_episodes`.
    """
    found: dict[str, Episodes] = {}
    arms = arms_of(folder)
    for benchmark, case, trajectory in stored_episodes(folder, policy):
        if arms and benchmark.rpartition("-")[2] != "on":
            continue
        episodes = found.setdefault(benchmark, [])
        if limit is None or len(episodes) < limit:
            episodes.append((case, trajectory))
    return found


def pivots_in(
    folder: RunFolder, episodes: Mapping[str, Episodes], which: Which
) -> dict[str, tuple[Rules, Pivots]]:
    """For each benchmark its pivots, and the rules by which its episodes were played.

    Raises:
        UserError: the run does not say how they were played, or was played with other instructions
            than the tools of today give; or as of `Pivots.of`.
    """
    found = {}
    for name, played in episodes.items():
        rules = _rules(folder, [case for case, _ in played[:1]])
        for _, trajectory in played:
            if trajectory.system and trajectory.system != rules.instructions:
                raise UserError(
                    f"{trajectory.case_id}#{trajectory.member} was played with other instructions "
                    f"than the recipe of {folder.path} gives today; fix: ask at the pivots with "
                    "the tools that it was played with"
                )
        found[name] = rules, Pivots.of(played, which)
    return found


def _rules(folder: RunFolder, cases: Sequence[Case]) -> Rules:
    asked = folder.asked
    tools: Any = asked.get("tools")
    tools = tools.get("names") if isinstance(tools, Mapping) else tools
    if not isinstance(tools, list):
        raise UserError(
            f"{folder.path} does not say with which tools it was played; fix: name a run of "
            "medgym eval, medgym rollout or medgym train"
        )
    of_training: Any = asked.get("rollout")
    known = asked | (dict(of_training) if isinstance(of_training, Mapping) else {})
    with by_recipe():  # a run may come from anyone
        return Rules.for_cases(
            cases,
            tools=tools,
            max_turns=known.get("max_turns", DEFAULT_MAX_TURNS),
            view_size=known.get("view_size"),
            view_multiple=known.get("view_multiple", 1),
            coordinates=known.get("coordinates", "thousandths"),
            prompt=known.get("prompt", ""),
        )


def digest_of(pivots: Mapping[str, Sequence[Pivot]]) -> str:
    """What names these pivots: the places, what stands before them, and the recorded calls."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pivots):
        for pivot in sorted(pivots[name], key=lambda each: each.asked.id):
            recorded = pivot.tools, pivot.looks, pivot.before
            line = f"{name} {pivot.asked.id} {pivot.resume.fork.prefix} {recorded}\n"
            digest.update(line.encode("utf-8"))
    return digest.hexdigest()
