"""Specialists' opinions on cases, collected once for all stages that train on them.

Opinions are kept in the run's folder under what they depend on (which policy, adapter and prompt,
how many, the seed), one run for each specialty. A case that is in there is not asked about again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medgym.cases import Case
from medgym.consultation.flow import Flow, PartOutcome, RolePart, consultation_flow
from medgym.consultation.opinions import Opinion, shuffled
from medgym.consultation.role import SPECIALIST
from medgym.consultation.team import ConsultationTeam
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import unreadable_of
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.rollout.record import held_episodes
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..run.sharing import collect_shared, shared_folder


@dataclass(frozen=True)
class AdvisedCase:
    """A case on which specialists were heard.

    Attributes:
        case: the case itself.
        shown: the case with the opinions, as the attending is asked it.
        opinions: in the order in which the attending reads them.
    """

    case: Case
    shown: Case
    opinions: tuple[Opinion, ...]


def require_played(played: Trajectory, unreadable: dict[str, str]) -> bool:
    """Insist on an episode: one that could not be played is no answer, and trains nothing.

    Args:
        unreadable: receives the case and the reason where its images cannot be read.

    Returns:
        Whether it was played. An unreadable case costs only itself.

    Raises:
        RunError: its machinery failed for good.
    """
    reason = unreadable_of(played.failure)
    if reason is not None:
        unreadable[played.case_id] = reason
    elif played.failure is not None:
        raise RunError(
            f"{played.case_id} could not be played ({played.failure}); fix: remove the cause, "
            "then resume with --resume: what was collected is kept"
        )
    return reason is None


class Advice:
    """Asks triage and the specialists of a consultation, and keeps what the specialists say.

    Args:
        team: the consultation.
        folder: where opinions are kept.
        rules, sampling: those of the whole, which roles change where they say so.
        seed: of every reply.

    Of several processes each asks its share, and all read what was said. A specialist that fails
    says nothing. A case whose images cannot be read is left out. Another episode that could not be
    played at all stops the run (`RunError`): triage that could not be asked, or all specialists of
    a case.

    Attributes:
        unreadable: the cases that were left out, and why.
    """

    def __init__(
        self, team: ConsultationTeam, folder: Path, rules: Rules, sampling: Sampling, seed: int
    ) -> None:
        self._team, self._recipe = team, team.recipe
        self._folder = folder
        self._rules, self._sampling, self._seed = rules, sampling, seed
        self.unreadable: dict[str, str] = {}

    def triaged(self, cases: Sequence[Case]) -> list[AdvisedCase]:
        """The opinions of the specialties that triage chooses; without triage, of all."""
        consultations = self._begun(cases)
        chooser = self._recipe.chooser
        if chooser is not None:
            stream = collect_shared(
                [each.parts[0].case for each in consultations],
                self._team.policies.of(chooser),
                chooser.rules(self._rules),
                sampling=chooser.sampling(self._sampling),
                seed=self._seed,
                ordered=True,
            )
            with progress("triage", len(cases)) as advance:
                for each, played in zip(consultations, stream, strict=True):
                    if require_played(played, self.unreadable):
                        each.send([PartOutcome.of(played)])
                    advance()
        return self._heard(self._readable(consultations))

    def chosen(self, cases: Sequence[Case], choice: Iterable[str]) -> list[AdvisedCase]:
        """The opinions that follow if triage chooses these specialties for every case."""
        consultations = self._begun(cases)
        for each in consultations:
            each.send([PartOutcome(", ".join(choice))])
        return self._heard(consultations)

    def _begun(self, cases: Sequence[Case]) -> list["_Begun"]:
        return [
            _Begun(case, consultation_flow(self._recipe, case, partial(self._order, case)))
            for case in cases
        ]

    def _order(self, case: Case, opinions: Sequence[Opinion]) -> list[Opinion]:
        """As the attending reads them, whatever the order in which triage named specialties."""
        listed = sorted(opinions, key=lambda opinion: self._recipe.specialties.index(opinion.who))
        return shuffled(listed, seed_of(self._seed, case.id, "order"))

    def _heard(self, consultations: Sequence["_Begun"]) -> list[AdvisedCase]:
        """Ask the specialists, one specialty after the other."""
        said: dict[tuple[str, str], list[PartOutcome]] = {}
        for specialty in self._recipe.specialties:
            cases = [each.case for each in consultations if each.asks(specialty)]
            for case_id, outcomes in self._panel(specialty, cases).items():
                said[case_id, specialty] = outcomes
        consultations = self._readable(consultations)
        for each in consultations:
            if not each.parts[0].required:
                each.send([said[each.case.id, p.specialty][p.number] for p in each.parts])
        decisions = [(each.case, each.parts[0]) for each in consultations]
        return [AdvisedCase(case, part.case, part.heard) for case, part in decisions]

    def _readable(self, consultations: Sequence["_Begun"]) -> list["_Begun"]:
        return [each for each in consultations if each.case.id not in self.unreadable]

    def _panel(self, specialty: str, cases: Sequence[Case]) -> dict[str, list[PartOutcome]]:
        """What the specialists of one specialty say, by case id."""
        if not cases:
            return {}
        panel, role = self._team.panel(specialty), self._recipe.role(SPECIALIST)
        asked = {
            "panel": panel.spec, "prompt": role.prompt, "adapter": role.adapter or "",
            "opinions": self._recipe.count(role), "seed": self._seed,
            "tools": list(role.tools or ()),
        }  # fmt: skip
        run = shared_folder(self._folder / f"{seed_of(json.dumps(asked)):016x}", asked)
        held = held_episodes(run, cases, self._rules)
        missing = [case for case in cases if (case.id, 0) not in held]
        stream = collect_shared(
            missing, panel, self._rules, sampling=self._sampling, seed=self._seed, out=run
        )
        with progress(f"opinions: {specialty}", len(missing)) as advance:
            for played in stream:
                require_played(played, self.unreadable)
                advance()
        wanted = {case.id for case in cases}
        return {
            played.case_id: [PartOutcome.of(part) for _, part in played.parts()]
            for played in run.trajectories
            if played.case_id in wanted
        }


class _Begun:
    """A consultation on its way; `parts` are those to be played next."""

    def __init__(self, case: Case, flow: Flow) -> None:
        self.case = case
        self._flow = flow
        self.parts: tuple[RolePart, ...] = next(flow)

    def send(self, outcomes: Sequence[PartOutcome]) -> None:
        """The outcomes of `parts`, in their order."""
        self.parts = self._flow.send(outcomes)

    def asks(self, specialty: str) -> bool:
        """Whether specialists of this specialty are asked next."""
        return any(part.specialty == specialty for part in self.parts)
