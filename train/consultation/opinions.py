"""Specialists' opinions on cases, collected once for all that is trained on them.

Opinions lie in the run's folder under what they depend on (who gives them, by which adapter and
prompt, how many, the seed), one run for each specialty; a case that is in there is not asked about
again.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.consultation.opinions import Opinion, chosen, shuffled, triage_case
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

Advised = list[tuple[Case, list[Opinion]]]
"""Cases with the opinions on each, in the order in which the attending reads them."""


def require_played(played: Trajectory) -> None:
    """Insist on an episode: what the machinery failed at is nobody's answer and trains nobody.

    Raises:
        RunError: it failed for good.
    """
    if played.failure is not None:
        raise RunError(
            f"{played.case_id} could not be played ({played.failure}); fix: remove the cause, "
            "then go on with --resume: what was collected is kept"
        )


class Advice:
    """Asks triage and specialists of a consultation, and keeps what the specialists say.

    Args:
        team: the consultation.
        folder: where opinions are kept.
        rules, sampling: those of the whole, which roles change where they say so.
        seed: of every draw.

    What the machinery fails at for good stops the run (`RunError`): a triage that could not be
    asked did not choose nobody, and a case whose specialists could not be asked is not a hard one.
    """

    def __init__(
        self, team: Any, folder: Path, rules: Rules, sampling: Sampling, seed: int
    ) -> None:
        self._team, self._recipe = team, team.recipe
        self._folder = folder
        self._rules, self._sampling, self._seed = rules, sampling, seed

    def triaged(self, cases: Sequence[Case]) -> Advised:
        """The opinions of those whom triage chooses; without triage, of everybody."""
        recipe = self._recipe
        if recipe.triage is None:
            return self.of(cases, [recipe.specialties] * len(cases))
        whom: list[tuple[str, ...]] = []
        stream = collect(
            [triage_case(case, recipe.specialties, recipe.most) for case in cases],
            self._team.players.of(recipe.triage),
            self._team.rules_of(recipe.triage, self._rules),
            sampling=recipe.triage.sampling(self._sampling),
            seed=self._seed,
            ordered=True,
        )
        with progress("triage", len(cases)) as advance:
            for played in stream:
                require_played(played)
                whom.append(chosen(played.answer, recipe.specialties, recipe.most))
                advance()
        return self.of(cases, whom)

    def of(self, cases: Sequence[Case], whom: Iterable[Sequence[str]]) -> Advised:
        """The opinions of the specialties that are named for each case."""
        asked = list(zip(cases, whom, strict=True))
        said: dict[str, list[Opinion]] = {case.id: [] for case in cases}
        for specialty in self._recipe.specialties:
            seen = [case for case, names in asked if specialty in names]
            for case, opinions in self._opinions(specialty, seen):
                said[case.id] += opinions
        return [
            (case, shuffled(said[case.id], seed_of(self._seed, case.id, "order"))) for case in cases
        ]

    def _opinions(self, specialty: str, cases: Sequence[Case]) -> Advised:
        if not cases:
            return []
        panel, role = self._team.panel(specialty), self._recipe.specialist
        asked = {
            "panel": panel.spec, "prompt": role.prompt, "adapter": role.adapter or "",
            "opinions": self._recipe.opinions, "seed": self._seed, "tools": list(role.tools or ()),
        }  # fmt: skip
        path = self._folder / f"{seed_of(json.dumps(asked)):016x}"
        run = RunFolder.open(path) if path.exists() else RunFolder.create(path, asked)
        held = {trajectory.case_id for trajectory in run.trajectories}
        missing = [case for case in cases if case.id not in held]
        stream = collect(
            missing, panel, self._rules, sampling=self._sampling, seed=self._seed, out=run
        )
        with progress(f"opinions: {specialty}", len(missing)) as advance:
            for played in stream:
                require_played(played)
                advance()
        known = {case.id: case for case in cases}
        return [
            (case, panel.opinions(case, played))
            for played in run.trajectories
            if (case := known.get(played.case_id)) is not None
        ]
