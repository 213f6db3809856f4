"""The consultation: triage chooses, specialists give opinions side by side, the attending decides.

`consultation:RECIPE` names a TOML file (a registered recipe, a path, or the folder of a run that
trained one) with a table `[consultation]` and one table `[roles.NAME]` for each role. It is a
policy like any other: what is played is stored, judged and shown like an episode, with a branch
for each part. The flow is that of MMedAgent-RL (arXiv 2506.00555); its specialists are closed
models that never look, ours are any policy and may have tools.

What goes wrong in a part does not end the consultation: a triage that names nobody leaves the
attending alone with the case, a specialist that fails or gives no answer that can be read is shown
as "no answer". The record says so, and no part that failed is rewarded.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from medgym.cases import Case
from medgym.consultation.opinions import (
    ATTENDING,
    SPECIALIST,
    TRIAGE,
    Opinion,
    Play,
    Team,
    advised_case,
    chosen,
    opinion_of,
    shuffled,
    triage_case,
)
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import parse_action
from medgym.policy import Sampling
from medgym.rollout.record import joined
from medgym.seeds import seed_of
from medgym.spec import without_credentials
from medgym.trajectory import Trajectory, failed_trajectory

from .recipe import ConsultationRecipe, read_recipe, recipe_of
from .refer import Refer
from .role_policies import Players
from .roles import Role

RETRIES = 2
"""Further attempts at a specialist's part; then the consultation goes on without it."""

REFERRALS = 64
"""Threads in which attendings wait for referrals, of all consultations together. They are not those
of the specialists' tools: attendings that wait in all of these would wait for ever."""

Part = tuple[str, int, float, Trajectory]
"""Role, round, seconds and trajectory, as `record.joined` takes them."""


class Consultation(Team):
    """Plays consultations by a recipe.

    Args:
        recipe: who takes part, and how it goes.
        players: policies by spec and adapter, where some are made already.
    """

    def __init__(self, recipe: ConsultationRecipe, players: Players | None = None) -> None:
        self.recipe = recipe
        self.players = players or Players()
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Consultation":
        """Read the recipe and make the policies of its roles, each base once.

        Raises:
            UserError: no such recipe, an unknown key, a role that nobody plays.
        """
        if adapter is not None:
            raise UserError(
                f"consultation:{rest} takes no adapter of its own; fix: name it under [roles.*]"
            )
        made = cls(read_recipe(rest))
        made.make()
        return made

    read = staticmethod(recipe_of)
    """A consultation's recipe from the tables of any recipe."""

    def panel(self, specialty: str) -> "Panel":
        """Its specialists of one specialty."""
        return Panel(self, specialty)

    @staticmethod
    def heard(case: Case, played: Trajectory) -> list[Opinion]:
        """The opinions that a consultation's trajectory holds, without their reasons."""
        parts = [(role.partition(":")[2], part) for role, part in played.parts() if ":" in role]
        return [
            opinion_of(case, specialty, part.answer, looks=part.looks) for specialty, part in parts
        ]

    def deciding_by(self, policy: str) -> "Consultation":
        """The same consultation with another policy as its attending, as the vote."""
        role = replace(self.recipe.attending, policy=policy, adapter=None)
        return Consultation(replace(self.recipe, attending=role), self.players)

    def without_triage(self) -> "Consultation":
        """The fixed flow: every specialty is asked, as nearly as can be for as many opinions as
        triage would have asked for."""
        recipe = self.recipe
        share = recipe.opinions * recipe.most // len(recipe.specialties)
        fixed = replace(recipe, triage=None, opinions=max(1, share))
        return Consultation(fixed, self.players)

    def make(self) -> None:
        """Make the policies of all roles, so that what cannot be had is known before playing."""
        recipe = self.recipe
        for role in (recipe.triage, recipe.attending):
            if role is not None:
                self.players.of(role)
        for specialty in recipe.specialties:
            self.players.of(recipe.specialist, specialty)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_threads": None}

    @property
    def kind(self) -> Any:  # type: ignore[override]
        """That of the attending, whose part decides."""
        return self.players.of(self.recipe.attending).kind

    @property
    def local_model(self) -> bool:  # type: ignore[override]
        """Whether any role's model is in this process."""
        return any(player.local_model for player in self.players.made())

    @property
    def needs_gold(self) -> bool:  # type: ignore[override]
        """Whether anybody plays with the gold before it."""
        return any(player.needs_gold for player in self.players.made())

    def describe(self) -> dict[str, Any]:
        """Who takes part and how it goes, as a recipe says it; `policies` has what theirs say."""
        tables = asdict(self.recipe)
        roles = {name: tables.pop(name) for name in (TRIAGE, SPECIALIST, ATTENDING)}
        for role in filter(None, roles.values()):
            del role["name"]  # its table's own
            role["policy"] = role["policy"] and without_credentials(role["policy"])
        tables["triage"] = self.recipe.triage is not None
        whole = {"consultation": tables, "roles": {n: role for n, role in roles.items() if role}}
        told = {player.spec: player.describe() for player in self.players.made()}
        policies = {without_credentials(spec): each for spec, each in told.items() if each}
        return whole | ({"policies": policies} if policies else {})

    async def check(self) -> None:
        """Every role is ready to play."""
        for player in self.players.made():
            await player.check()

    def close(self) -> None:
        """Close what the roles hold."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for player in self.players.made():
            player.close()

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play one consultation; see `Team.consult`."""
        return await _Consulting(self, case, rules, play, sampling, seed).run()

    @cached_property
    def _made(self) -> dict[tuple[str, str, Rules], Rules]:
        return {}

    def rules_of(self, role: Role, given: Rules, specialty: str = "") -> Rules:
        """A role's rules where a rollout's are `given`: the same object each time."""
        key = role.name, specialty, given
        if key not in self._made:
            self._made[key] = role.rules(given, specialty)
        return self._made[key]

    def waiting(self) -> ThreadPoolExecutor:
        """Threads of attendings that may wait for a referral."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(REFERRALS, "medgym-referrals")
        return self._threads


class Panel(Team):
    """The specialists of one specialty by themselves: their opinions, side by side.

    What training collects once: the parts are those that the consultation would play.
    """

    def __init__(self, team: Consultation, specialty: str) -> None:
        self.team = team
        self.specialty = specialty
        self.spec = f"{team.players.of(team.recipe.specialist, specialty).spec} as {specialty}"

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play all opinions; see `Team.consult`. The last branch is one that did not fail."""
        parts = await _Consulting(self.team, case, rules, play, sampling, seed).panel(
            self.specialty
        )
        return joined(sorted(parts, key=lambda part: part[3].failure is None), policy=self.spec)

    def opinions(self, case: Case, played: Trajectory) -> list[Opinion]:
        """The opinions in what it played."""
        reasons = self.team.recipe.reasons
        return [_opinion(case, self.specialty, part, reasons) for _, part in played.parts()]


class _Consulting:
    """One consultation as it goes on."""

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
        self.parts: list[Part] = []

    async def run(self) -> Trajectory:
        recipe = self.team.recipe
        asked = await self._triage()
        whom = [(who, n) for who in asked for n in range(recipe.opinions)]
        self.parts.append(await self._attend(await self._ask(whom, 0)))
        return joined(self.parts, policy=self.team.spec)

    async def _triage(self) -> tuple[str, ...]:
        recipe = self.team.recipe
        if recipe.triage is None:  # the fixed flow: everybody is asked
            return recipe.specialties
        asked = triage_case(self.case, recipe.specialties, recipe.most)
        part = await self._part(recipe.triage, asked, TRIAGE, 0)
        self.parts.append(part)
        return chosen(part[3].answer, recipe.specialties, recipe.most)

    async def panel(self, specialty: str) -> list[Part]:
        """The parts of all opinions of one specialty."""
        await self._ask([(specialty, n) for n in range(self.team.recipe.opinions)], 0)
        return self.parts

    async def _ask(self, whom: Sequence[tuple[str, int]], number: int) -> list[Opinion]:
        """The opinions of (specialty, which of them), side by side."""
        role, reasons = self.team.recipe.specialist, self.team.recipe.reasons
        asked = (self._specialist(role, who, which, number) for who, which in whom)
        parts = await asyncio.gather(*asked)
        self.parts += parts
        opinions = [
            _opinion(self.case, who, part[3], reasons)
            for (who, _), part in zip(whom, parts, strict=True)
        ]
        return shuffled(opinions, seed_of(self.seed, "opinions", number))

    async def _refer(self, specialty: str, number: int) -> Opinion:
        return (await self._ask([(specialty, 0)], number))[0]

    async def _specialist(self, role: Role, specialty: str, which: int, number: int) -> Part:
        name, start = f"{role.name}:{specialty}", time.monotonic()
        for attempt in range(RETRIES + 1):
            try:
                draw = f"{name}/{number}/{which}"
                return await self._part(role, self.case, name, number, specialty, draw=draw)
            except Failure as failure:
                lost = failure
                if failure.final:
                    break
                await asyncio.sleep(0.1 * 2**attempt)
        spec = self.team.players.of(role, specialty).spec
        part = failed_trajectory(self.case, policy=spec, seed=0, member=0, failure=str(lost))
        return name, number, time.monotonic() - start, part

    async def _attend(self, opinions: Sequence[Opinion]) -> Part:
        recipe = self.team.recipe
        case = advised_case(self.case, opinions, recipe.views)
        if recipe.flow == "dynamic":
            rules = self.team.rules_of(recipe.attending, self.rules)
            loop = asyncio.get_running_loop()
            refer = Refer(self._refer, recipe.specialties, recipe.referrals, loop)
            rules = replace(rules, tools=(*rules.tools, refer))
            return await self._part(recipe.attending, case, ATTENDING, 0, rules=rules)
        return await self._part(recipe.attending, case, ATTENDING, 0)

    async def _part(
        self,
        role: Role,
        case: Case,
        name: str,
        number: int,
        specialty: str = "",
        draw: str = "",
        rules: Rules | None = None,
    ) -> Part:
        start = time.monotonic()
        played = await self.play(
            case,
            self.team.players.of(role, specialty),
            rules or self.team.rules_of(role, self.rules, specialty),
            role=draw or name,
            sampling=role.sampling(self.sampling),
            threads=self.team.waiting() if rules is not None else None,
        )
        return name, number, time.monotonic() - start, played


def _opinion(case: Case, specialty: str, part: Trajectory, reasons: bool) -> Opinion:
    reason = _thought(part) if reasons else ""
    return opinion_of(case, specialty, part.answer, reason, part.looks)


def _thought(trajectory: Trajectory) -> str:
    """What a specialist thought before its answer."""
    last = next((n for n in reversed(trajectory.nodes) if n.role == "assistant"), None)
    return (last is not None and parse_action(last.text).think) or ""
