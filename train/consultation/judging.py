"""How a trained consultation is judged: whole, without each of its parts, and beside baselines.

A specialist's part that failed for good counts as failed, here as in `medgym eval`: the roles that
hear it read "no answer", the consultation continues, and the figures of its role say how many parts
failed. A case whose triage or attending failed for good could not be played, and ends the judging.
"""

from collections.abc import Sequence
from dataclasses import replace

from medgym.cases import Case
from medgym.consultation.opinions import opinions_in
from medgym.consultation.role import ATTENDING
from medgym.consultation.role_policies import RolePolicies
from medgym.judge import Judgement
from medgym.metrics.rate import Rate

from ..run.judging import Figures, figures_of, judge_each
from .curriculum import DIFFICULTIES, difficulty
from .policies import contestants
from .training import Training


def judged(training: Training, policies: RolePolicies) -> dict[str, Figures]:
    """Judge the consultation, its ablations and the baselines on held-out cases.

    One base serves all of them, each with its adapters. Returns the `policies` of `results.json`.

    Raises:
        RunError: a case could not be played.
    """
    run = training.run
    figures: dict[str, Figures] = {}
    heard: Judgement | None = None
    for name, each in judge_each(contestants(training, policies), run.place, run.seed("judge")):
        heard = heard or each.sampled  # the consultation itself is the first
        if name in (ATTENDING, "attending_before", "majority"):
            metrics = {**each.sampled.metrics, **by_opinions(run.test, heard, each.sampled)}
            each = replace(each, sampled=replace(each.sampled, metrics=metrics))
        figures[name] = figures_of(each)
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
        if len(opinions) > 1 and len(said) == 1 and not said & {None, *case.golds}:
            overruled.append(played.correct)
    rates = {f"difficulty/{level}": Rate.of(each) for level, each in right.items()}
    return rates | {"overruled": Rate.of(overruled)}
