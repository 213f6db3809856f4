"""Triage rewarded by the outcome of its choice, in place of the case's specialty.

The outcome is played once for each case and choice, before triage learns: the opinions of the
chosen specialties, then the attending as trained so far, one reply. So members of a group that
choose alike are rewarded alike, and cases need no specialty in their gold. Before an attending was
trained, the specialists' vote takes its place, because an untrained attending cannot weigh
opinions.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from medgym.cases import Case
from medgym.consultation.opinions import chosen
from medgym.episode import Rules
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.rubric import Rubric, Term, load_rubric
from medgym.seeds import seed_of
from medgym.storage.atomic import write_atomic
from medgym.storage.json_files import read_lines

from ..run.sharing import collect_shared
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
        """What triage's answer led to; 0 where it chose no known specialty."""
        named = frozenset(chosen(episode.answer, case.options, self.most))
        return self.right.get((case.id, named), 0.0)

    @cached_property
    def cases(self) -> frozenset[str]:
        """The ids of the cases that have an outcome of each choice."""
        counted = Counter(case for case, _ in self.right)
        most = max(counted.values(), default=0)
        return frozenset(case for case, count in counted.items() if count == most)

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
        rows = read_lines(path)
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
    seed: int,
) -> Outcomes:
    """Play what every choice of up to `most` specialties leads to.

    Args:
        advice: of the specialists. attending: decides, by these rules and sampling.

    Raises:
        RunError: one could not be played, which is no outcome. An unreadable case has none.
    """
    choices = [c for size in range(1, most + 1) for c in combinations(specialties, size)]
    right: dict[tuple[str, Choice], float] = {}
    with progress("outcomes", len(choices) * len(cases)) as advance:
        for choice in choices:
            asked = [advised.shown for advised in advice.chosen(cases, choice)]
            # The same seed for each choice of a case: only the opinions differ.
            outcome_seed = seed_of(seed, "outcome")
            stream = collect_shared(asked, attending, rules, sampling=sampling, seed=outcome_seed)
            for played in stream:
                if require_played(played, advice.unreadable):
                    right[played.case_id, frozenset(choice)] = float(played.correct)
                advance()
    return Outcomes(right, most)
