"""Majority vote of one policy with itself: `majority:N:SPEC` plays a case N times and takes the
commonest answer (test-time scaling; self-consistency, arXiv 2203.11171).

Of several equally common answers the first one given counts. Episodes without an answer have no
vote.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medgym.cases import Case, normalised, option_of
from medgym.consultation.team import Play, Team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.rollout.record import joined
from medgym.spec import write_spec
from medgym.trajectory import Trajectory

from .side_by_side import side_by_side


class Majority(Team, WrappedPolicy):
    """The commonest answer of several episodes.

    Args:
        policy: plays them. votes: how many.
    """

    def __init__(self, policy: Policy, votes: int) -> None:
        super().__init__(policy)
        self.votes = votes
        self.spec = f"majority:{votes}:{policy.spec}"

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Majority":
        """`N:SPEC`; an adapter at the end is that of SPEC."""
        count, _, spec = rest.partition(":")
        if not count.isdecimal() or int(count) < 1 or not spec:
            raise UserError(f"cannot read majority:{rest}; fix: write majority:N:SPEC, N from 1")
        scheme, _, rest = spec.partition(":")
        return cls(load_policy(write_spec(scheme, rest, adapter)), int(count))

    def members(self) -> Sequence[Policy]:
        """The one policy that votes."""
        return (self.policy,)

    def with_adapter(self, name: str, path: Path) -> Policy:
        """The votes of the policy that plays by an adapter."""
        return Majority(self.policy.with_adapter(name, path), self.votes)

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play all episodes side by side; the last branch is one that gave the common answer."""

        async def vote(number: int) -> tuple[str, int, float, Trajectory]:
            start = time.monotonic()
            name = f"vote/{number}"
            played = await play(case, self.policy, rules, role=name, sampling=sampling)
            return name, 0, time.monotonic() - start, played

        # At temperature 0 a model would say the same each time.
        greedy = self.policy.kind == "sampled" and sampling is not None and not sampling.temperature
        votes = 1 if greedy else self.votes
        parts = await side_by_side(map(vote, range(votes)))

        def said(part: tuple[str, int, float, Trajectory]) -> str | None:
            answer = part[3].answer
            if answer is None:
                return None
            return option_of(answer, case.options) if case.options else normalised(answer)

        counts = Counter(text for part in parts if (text := said(part)) is not None)
        if counts:
            common = counts.most_common(1)[0][0]
            elected = next(part for part in parts if said(part) == common)
            parts.remove(elected)
            parts.append(elected)
        return joined(parts, policy=self.spec)
