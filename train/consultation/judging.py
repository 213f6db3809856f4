"""How a trained consultation is judged: whole, without each of its parts, and beside baselines.

A specialist's part that failed for good counts as failed, here as in `medgym eval`: the roles that
hear it read "no answer", the consultation continues, and the figures of its role say how many parts
failed. A case whose triage or attending failed for good could not be played, and ends the judging.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medgym.cases import Case
from medgym.consultation.opinions import opinions_in
from medgym.consultation.role import ATTENDING
from medgym.consultation.role_policies import RolePolicies
from medgym.judge import Judgement, load_judge
from medgym.metrics.rate import Rate
from medgym.progress import progress
from medgym.seeds import seed_of
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore

from .curriculum import DIFFICULTIES, difficulty
from .policies import judged_policies
from .training import Training

PolicyFigures = Mapping[str, Mapping[str, Any]]
"""`sampled` and `greedy`, each a `Judgement.as_dict()`."""


def judged(training: Training, policies: RolePolicies) -> dict[str, PolicyFigures]:
    """Judge the consultation, its ablations and the baselines on held-out cases.

    One base serves all of them, each with its adapters. Returns the `policies` of `results.json`.

    Raises:
        RunError: a case could not be played.
    """
    cases = training.run.test
    found = judged_policies(training, cases, policies)
    judge = load_judge()
    keep = RunFolder(training.folder).keep_images
    figures: dict[str, PolicyFigures] = {}
    heard: Judgement | None = None
    with progress("judging", 2 * sum(len(each.cases) for each in found.values())) as advance:
        for name, judged in found.items():

            def advanced(_: int, name: str = name) -> None:
                advance(1, policy=name)

            sampled, greedy = (
                judge(
                    judged.policy,
                    judged.cases,
                    judged.rules,
                    sampling=judged.sampling(is_greedy),
                    seed=seed_of(training.recipe.seed, "judge"),
                    on_progress=advanced,
                    on_messages=None if is_greedy else keep,
                )
                for is_greedy in (False, True)
            )
            # A run that is resumed here judges again, in the same place.
            TrajectoryStore(training.folder / "judged" / name.replace(":", "-")).write(
                sampled.trajectories, number=0
            )
            heard = heard or sampled  # the consultation itself is the first
            if name in (ATTENDING, "attending_before", "majority"):
                metrics = by_opinions(cases, heard, sampled)
                sampled = replace(sampled, metrics={**sampled.metrics, **metrics})
            figures[name] = {"sampled": sampled.as_dict(), "greedy": greedy.as_dict()}
    return figures


def by_opinions(cases: Sequence[Case], heard: Judgement, judged: Judgement) -> dict[str, Rate]:
    """How often answers are right on cases of each difficulty, and where all opinions are alike and
    wrong (`overruled`).

    Args:
        heard: of the consultation whose opinions count. judged: of the answers.
    """
    right: dict[str, list[bool]] = {level: [] for level in DIFFICULTIES}
    overruled: list[bool] = []
    pairs = zip(cases, heard.trajectories, judged.trajectories, strict=True)
    for case, consultation, played in pairs:
        opinions = opinions_in(case, consultation)
        right[difficulty(case, opinions)].append(played.correct)
        said = {opinion.answer for opinion in opinions}
        if len(opinions) > 1 and len(said) == 1 and not said & {None, case.answer}:
            overruled.append(played.correct)
    rates = {f"difficulty/{level}": Rate.of(each) for level, each in right.items()}
    return rates | {"overruled": Rate.of(overruled)}
