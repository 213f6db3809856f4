"""How a trained consultation is judged: whole, without each of its parts, and beside baselines."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from medgym.cases import Case
from medgym.consultation.opinions import ATTENDING, SPECIALIST, TRIAGE, advised_case, triage_case
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.judge import Judgement, load_judge
from medgym.metrics.rate import Rate
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.registry import load
from medgym.seeds import seed_of
from medgym.storage.adapters import published
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

from ..run.judging import Judged, figures_of
from .curriculum import DIFFICULTIES, difficulty

if TYPE_CHECKING:
    from .training import Training

SINGLE = "single"
"""The baseline without colleagues; its adapters lie beside those of the roles."""

VOTES = 5
"""Episodes of the single policy that vote: about as many replies as a consultation spends."""

Player = tuple[Policy, Sequence[Case], Rules, Callable[[bool], Sampling]]
"""Who plays, on which cases, by which rules, and how its replies are drawn (greedily or not)."""


def players(training: "Training", cases: Sequence[Case], base: Policy) -> dict[str, Player]:
    """Everybody who is judged, all adapters over one base."""
    recipe, consultation = training.recipe, training.consultation
    after, before = training.team(base), training.team(base, without=(ATTENDING,))
    rules = training.run.rules(training.run.test)
    alone = [advised_case(case, []) for case in cases]

    def drawn(greedy: bool) -> Sampling:
        return training.run.sampling(greedy=greedy)

    def of(role: str) -> Callable[[bool], Sampling]:
        return lambda greedy: training.sampling(role, greedy=greedy)

    found: dict[str, Player] = {
        "attending": (after, cases, rules, drawn),
        "attending_before": (before, cases, rules, drawn),
        "majority": (after.deciding_by("scripted:vote"), cases, rules, drawn),
        "oracle": (after.deciding_by("scripted:oracle"), cases, rules, drawn),
        "no_specialists": (
            after.players.of(after.recipe.attending),
            alone,
            training.rules(ATTENDING),
            of(ATTENDING),
        ),
    }
    if after.recipe.triage is not None:
        names, most = consultation.specialties, consultation.most
        asked = [triage_case(case, names, most) for case in cases]
        by_triage = training.rules(TRIAGE)
        found["triage"] = (after.players.of(after.recipe.triage), asked, by_triage, of(TRIAGE))
        if TRIAGE in training.trained:
            found["triage_before"] = (base, asked, by_triage, of(TRIAGE))
        found["no_triage"] = (after.without_triage(), cases, rules, drawn)
    for specialty in consultation.specialties if SPECIALIST in training.trained else ():
        own = [case for case in cases if case.specialty == specialty]
        if own:
            doctor = after.players.of(after.recipe.specialist, specialty)
            by_doctor = training.rules(SPECIALIST, specialty)
            found[f"specialist:{specialty}"] = (doctor, own, by_doctor, of(SPECIALIST))
            found[f"specialist_before:{specialty}"] = (base, own, by_doctor, of(SPECIALIST))
    if recipe.marl.single:
        sampler: Any = base
        version = published(training.folder, SINGLE)[-1]
        single = sampler.with_adapter(version.name, version.path)
        majority: Any = load("policies", "majority")(single, VOTES)
        found[SINGLE] = (single, cases, rules, drawn)
        found["single_majority"] = (majority, cases, rules, drawn)
    return found


def judged(training: "Training", base: Policy) -> dict[str, Any]:
    """Judge the consultation, its ablations and the baselines on held-out cases.

    `base` serves all of them, each with its adapters.

    Raises:
        RunError: the machinery failed at a part for good. A consultation goes on without it, but
            its figures would be those of another one.
    """
    cases = training.run.test
    judge = load_judge()
    figures: dict[str, Any] = {}
    played: dict[str, Judgement] = {}
    found = players(training, cases, base)
    keep = RunFolder(training.folder).keep_images
    with progress("judging", 2 * sum(len(player[1]) for player in found.values())) as advance:
        for name, (policy, some, rules, sampling) in found.items():

            def advanced(_: int, name: str = name) -> None:
                advance(1, policy=name)

            drawn, greedy = (
                judge(
                    policy,
                    some,
                    rules,
                    sampling=sampling(is_greedy),
                    seed=seed_of(training.recipe.seed, "judge"),
                    on_progress=advanced,
                    on_messages=None if is_greedy else keep,
                )
                for is_greedy in (False, True)
            )
            for trajectory in (*drawn.trajectories, *greedy.trajectories):
                _require_whole(trajectory)
            # A run that is gone on with judges again, in the same place.
            TrajectoryStore(training.folder / "judged" / name.replace(":", "-")).write(
                drawn.trajectories, number=0
            )
            figures[name] = figures_of(Judged(drawn, greedy))
            played[name] = drawn
    for name in ("attending", "attending_before", "majority"):
        figures[name] |= by_opinions(cases, played["attending"], played[name])
    return figures


def _require_whole(played: Trajectory) -> None:
    for role, part in played.parts():
        if part.failure is not None:
            raise RunError(
                f"{played.case_id} was played without the {role} ({part.failure}), and that is "
                "another consultation; fix: remove the cause and judge again, by --resume"
            )


def by_opinions(cases: Sequence[Case], heard: Judgement, judged: Judgement) -> dict[str, Any]:
    """How often somebody is right on cases of each difficulty, and where all opinions are alike and
    wrong (`overruled`).

    Args:
        heard: the consultation whose opinions count. judged: whose answers.
    """
    opinions_in = load("policies", "consultation").heard
    right: dict[str, list[bool]] = {level: [] for level in DIFFICULTIES}
    overruled: list[bool] = []
    for case, told, played in zip(cases, heard.trajectories, judged.trajectories, strict=True):
        opinions = opinions_in(case, told)
        right[difficulty(case, opinions)].append(played.correct)
        said = {opinion.answer for opinion in opinions}
        if len(opinions) > 1 and len(said) == 1 and not said & {None, case.answer}:
            overruled.append(played.correct)
    return {
        "by_difficulty": {level: asdict(Rate.of(each)) for level, each in right.items()},
        "overruled": asdict(Rate.of(overruled)),
    }
