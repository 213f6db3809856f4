"""The consultation as a policy: triage chooses, specialists give opinions, the attending decides.

`consultation:RECIPE` names a TOML file (a registered recipe, a path, or the folder of a run that
trained one) with a table `[consultation]` and one table `[roles.NAME]` for each role. It is a
policy like any other: its episodes are stored, judged and shown like those of one model, with a
branch for each part. The flow is that of MMedAgent-RL (arXiv 2506.00555), whose specialists are
closed models that never look; ours are any policy and may have tools.

A failure in a part does not end the consultation. If triage chooses no known specialty, the
attending decides without opinions. A specialist that fails, or gives no answer that can be read, is
shown as "no answer". The record says so, and no part that failed is rewarded.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from typing import Literal

from medgym.cases import Case
from medgym.consultation.flow import (
    PartOutcome,
    RolePart,
    consultation_flow,
    heard,
    panel_parts,
)
from medgym.consultation.opinions import Opinion, shuffled
from medgym.consultation.recipe import ConsultationRecipe, read_recipe
from medgym.consultation.role import SPECIALIST, Role
from medgym.consultation.role_policies import RolePolicies
from medgym.consultation.team import ConsultationTeam, Play, Team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.policy import Policy, Sampling
from medgym.redaction import redact_text
from medgym.rollout.record import joined
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory, failed_trajectory

from .refer import Refer
from .side_by_side import side_by_side

RETRIES = 2
"""Further attempts at a specialist's part; then the consultation continues without it."""

REFERRALS = 64
"""Threads in which attendings wait for referrals, of all consultations together. They are not those
of the specialists' tools: attendings that waited in all of these would wait for ever."""

PlayedPart = tuple[str, int, float, Trajectory]
"""Role, round, seconds and trajectory, as `record.joined` takes them."""


class Consultation(ConsultationTeam):
    """Plays consultations by a recipe.

    Args:
        recipe: who takes part, and how it proceeds.
        policies: by spec and adapter, where the caller holds some, and closes them.
    """

    def __init__(self, recipe: ConsultationRecipe, policies: RolePolicies | None = None) -> None:
        self.recipe = recipe
        self.policies = RolePolicies() if policies is None else policies
        self._owns_policies = policies is None
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Consultation":
        """Read the recipe and load the policies of its roles, each base once.

        Raises:
            UserError: no such recipe, an unknown key, a role without a policy.
        """
        if adapter is not None:
            raise UserError(
                f"consultation:{rest} takes no adapter of its own; fix: name it under [roles.*]"
            )
        team = cls(read_recipe(rest))
        try:
            team.load()
        except BaseException:
            team.close()
            raise
        return team

    def panel(self, specialty: str) -> "Panel":
        """See `ConsultationTeam.panel`."""
        return Panel(self, specialty)

    def load(self) -> None:
        """Load the policies of all roles, so that a missing one is reported before playing."""
        for role in sorted(self.recipe.roles, key=lambda role: role.each == "specialty"):
            for specialty in self.recipe.specialties if role.each == "specialty" else ("",):
                self.policies.of(role, specialty)

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_threads": None}

    @property
    def kind(self) -> Literal["sampled", "demonstration", "text"]:  # type: ignore[override]
        """That of the deciding role's policy."""
        return self.policies.of(self.recipe.decider).kind

    @property
    def local_model(self) -> bool:  # type: ignore[override]
        """Whether any role's model is in this process."""
        return any(policy.local_model for policy in self.policies.loaded())

    @property
    def needs_gold(self) -> bool:  # type: ignore[override]
        """Whether any role plays with the gold before it."""
        return any(policy.needs_gold for policy in self.policies.loaded())

    def describe(self) -> dict[str, object]:
        """The recipe's tables; `policies` has what the roles' policies describe."""
        found = {policy.spec: policy.describe() for policy in self.policies.loaded()}
        policies = {redact_text(spec): each for spec, each in found.items() if each}
        return {**self.recipe.tables(), **({"policies": policies} if policies else {})}

    def members(self) -> Sequence[Policy]:
        """See `Team`."""
        return list(self.policies.loaded())

    async def check(self) -> None:
        """Every role is ready to play."""
        for policy in self.members():
            await policy.check()

    def close(self) -> None:
        """Close what it holds, and its own policies."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._owns_policies:
            self.policies.close()

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play one consultation; see `Team.consult`."""
        return await _Consulting(self, case, rules, play, sampling, seed).run()

    @cached_property
    def _rules(self) -> dict[tuple[str, str, Rules], Rules]:
        return {}

    def rules_of(self, role: Role, given: Rules, specialty: str = "") -> Rules:
        """A role's rules where a rollout's are `given`: the same object each time."""
        key = role.name, specialty, given
        if key not in self._rules:
            self._rules[key] = role.rules(given, specialty)
        return self._rules[key]

    def waiting(self) -> ThreadPoolExecutor:
        """Threads of attendings that may wait for a referral."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(REFERRALS, "medgym-referrals")
        return self._threads


class Panel(Team):
    """The specialists of one specialty without the other roles; see `ConsultationTeam.panel`."""

    def __init__(self, team: Consultation, specialty: str) -> None:
        self.team = team
        self.specialty = specialty
        policy = team.policies.of(team.recipe.role(SPECIALIST), specialty)
        self.spec = f"{policy.spec} as {specialty}"

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play all its parts; see `Team.consult`."""
        consulting = _Consulting(self.team, case, rules, play, sampling, seed)
        parts = await consulting.play_all(panel_parts(self.team.recipe, case, self.specialty))
        return joined(sorted(parts, key=lambda part: part[3].failure is None), policy=self.spec)


class _Consulting:
    """One consultation while it is played: drives the flow."""

    def __init__(
        self,
        team: Consultation,
        case: Case,
        rules: Rules,
        play: Play,
        sampling: Sampling | None,
        seed: int,
    ) -> None:
        self.team, self.case, self.rules, self.play = team, case, rules, play
        self.sampling, self.seed = sampling, seed
        self.played: list[PlayedPart] = []

    async def run(self) -> Trajectory:
        order = partial(shuffled, seed=seed_of(self.seed, "opinions", 0))
        flow = consultation_flow(self.team.recipe, self.case, order)
        parts: tuple[RolePart, ...] | None = next(flow)
        while parts:
            played = await self.play_all(parts)
            self.played += played
            try:
                parts = flow.send([PartOutcome.of(trajectory) for *_, trajectory in played])
            except StopIteration:
                parts = None
        return joined(self.played, policy=self.team.spec)

    async def play_all(self, parts: Sequence[RolePart]) -> list[PlayedPart]:
        """Parts side by side, in their order."""
        if len(parts) == 1 and parts[0].required:
            return [await self._play(parts[0])]
        return await side_by_side(map(self._play_with_retries, parts))

    async def _play_with_retries(self, part: RolePart) -> PlayedPart:
        """A part; where its machinery fails for good, what stands for it."""
        if part.required:
            return await self._play(part)
        start = time.monotonic()
        for attempt in range(RETRIES + 1):
            try:
                return await self._play(part)
            except Failure as failure:
                lost = failure
                if failure.final:
                    break
                await asyncio.sleep(0.1 * 2**attempt)
        spec = self.team.policies.of(part.role, part.specialty).spec
        failed = failed_trajectory(part.case, policy=spec, seed=0, member=0, failure=str(lost))
        return part.name, part.round, time.monotonic() - start, failed

    async def _play(self, part: RolePart) -> PlayedPart:
        team, start = self.team, time.monotonic()
        rules, threads = team.rules_of(part.role, self.rules, part.specialty), None
        if part.role is team.recipe.decider and team.recipe.flow == "dynamic":
            rules = replace(rules, tools=(*rules.tools, self._refer()))
            threads = team.waiting()
        played = await self.play(
            part.case,
            team.policies.of(part.role, part.specialty),
            rules,
            role=part.seed_name,
            sampling=part.role.sampling(self.sampling),
            threads=threads,
        )
        return part.name, part.round, time.monotonic() - start, played

    def _refer(self) -> Refer:
        recipe = self.team.recipe
        loop = asyncio.get_running_loop()
        return Refer(self._refer_to, recipe.specialties, recipe.referrals, loop)

    async def _refer_to(self, specialty: str, number: int) -> Opinion:
        """The opinion of one more specialist, which becomes a part of the consultation."""
        recipe = self.team.recipe
        part = RolePart(recipe.referred, self.case, specialty, round=number)
        played = await self.play_all([part])
        self.played += played
        return heard(recipe, self.case, part, PartOutcome.of(played[0][3]))
