"""Triage rewarded by what becomes of its choice, in place of the case's specialty.

What a choice leads to is played once for each case and choice, before triage learns: opinions of
those chosen, then the attending as it is by then, its reply drawn once. So members of a group who
choose alike are rewarded alike, cases need no specialty in their gold, and a specialist is worth
what the attending makes of its opinion. Where no attending has been trained yet, the specialists'
vote stands in: an attending who cannot read opinions says nothing of who gave them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from medgym.cases import Case
from medgym.consultation.opinions import advised_case, chosen
from medgym.episode import Rules
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.rollout import collect
from medgym.rubric import Rubric, Term, load_rubric
from medgym.seeds import seed_of
from medgym.storage.trajectories import write_atomic

from .opinions import Advice, require_played

if TYPE_CHECKING:
    from medgym.episode import Episode

Choice = frozenset[str]


@dataclass(frozen=True)
class Outcomes:
    """What each choice of specialties led to: 1 for the right answer, by case id and choice."""

    right: Mapping[tuple[str, Choice], float]
    most: int

    def __call__(self, case: Case, episode: "Episode") -> float:
        """What triage's answer led to; 0 where it chose nobody."""
        named = frozenset(chosen(episode.answer, case.options, self.most))
        return self.right.get((case.id, named), 0.0)

    def rubric(self) -> Rubric:
        """Format 0.5, outcome 1."""
        form = load_rubric("triage").term("format")
        return Rubric("triage-outcome", (Term("outcome", 1.0, self), form))

    def write(self, path: Path) -> None:
        """One JSON line for each case and choice."""
        rows = [
            {"case": case, "chosen": sorted(choice), "right": right}
            for (case, choice), right in self.right.items()
        ]
        write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8"))

    @classmethod
    def read(cls, path: Path, most: int) -> "Outcomes":
        """What `write` wrote."""
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return cls({(r["case"], frozenset(r["chosen"])): r["right"] for r in rows}, most)


def play_out(
    cases: Sequence[Case],
    advice: Advice,
    attending: Policy,
    rules: Rules,
    sampling: Sampling,
    *,
    specialties: Sequence[str],
    most: int,
    views: int,
    seed: int,
) -> Outcomes:
    """Play what every choice of up to `most` specialties leads to.

    Args:
        advice: of the specialists. attending: who decides, by these rules and draws.
        views: of the specialists, that the attending is shown.

    Raises:
        RunError: the machinery failed at one for good, which is no outcome.
    """
    choices = [c for size in range(1, most + 1) for c in combinations(specialties, size)]
    right: dict[tuple[str, Choice], float] = {}
    with progress("outcomes", len(choices) * len(cases)) as advance:
        for choice in choices:
            advised = advice.of(cases, [choice] * len(cases))
            asked = [advised_case(case, opinions, views) for case, opinions in advised]
            # The same seed for each choice of a case: what differs is whom it heard.
            draws = seed_of(seed, "outcome")
            for played in collect(asked, attending, rules, sampling=sampling, seed=draws):
                require_played(played)
                right[played.case_id, frozenset(choice)] = float(played.correct)
                advance()
    return Outcomes(right, most)
