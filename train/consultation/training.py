"""A consultation trained by a recipe: each trainable role has an adapter of its own over one base.

A round trains the specialists (where they are trainable, one adapter for each specialty), then
triage, then collects the specialists' opinions once for the cases as triage assigns them, and
trains the attending on these by the curriculum of `curriculum`. While one role learns the others
wait; a role that is not trainable is frozen. A single policy without colleagues learns beside them,
as a baseline. `run` puts these steps in order.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from medgym.cases import Case, read_cases, write_cases
from medgym.consultation.opinions import triage_case
from medgym.consultation.recipe import recipe_of
from medgym.consultation.role import (
    ATTENDING,
    SINGLE,
    SPECIALIST,
    TRIAGE,
    Role,
    default_role,
)
from medgym.consultation.role_policies import RolePolicies
from medgym.consultation.team import ConsultationTeam, consultation_team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Sampling
from medgym.seeds import seed_of
from medgym.storage.adapters import published
from medgym.storage.atomic import remove, write_atomic
from medgym.storage.json_files import read_lines
from medgym.storage.layout import Place
from medgym.toml import toml_text
from medgym.tool_form import in_tool_form

from ..data.order import GoldCases, needed
from ..data.records import UNREADABLE
from ..recipe.schema import Recipe
from ..run.judging import model_policy
from ..run.opened import Run
from ..run.processes import is_first
from .curriculum import Entropy, difficulty, staged
from .opinions import Advice
from .triage_reward import Outcomes, play_out

BASE = "hf:base"
"""The policy of a role that names none: the run's base, with that role's adapter."""


class Training:
    """One training run of a consultation.

    Attributes:
        run: the opened recipe. recipe: what is trained. folder: the run's folder.
        consultation: the roles that take part, by the recipe's tables.
        trained: the names of the roles that learn.

    Raises:
        UserError: the tables describe no consultation, or one that cannot be trained.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.recipe = recipe = run.recipe
        self.place = run.place
        self.folder = run.folder
        self.options = recipe.model.options.in_run  # of the cold start
        tables = {"consultation": recipe.consultation, "roles": recipe.roles}
        self.consultation = recipe_of(tables, recipe.name)
        self._check_roles()
        self.trained = tuple(role.name for role in self.consultation.roles if role.trainable)
        for name in self.trained:
            if int(self.of_role(name).grpo.get("max_steps", 0)) < 1:
                raise UserError(
                    f"{recipe.name}: [roles.{name}] has no number of training steps; fix: set "
                    f"max_steps under [grpo] or [marl.grpo.{name}]"
                )

    def _check_roles(self) -> None:
        """Refuse a consultation that cannot be trained."""
        name, roles = self.recipe.name, self.consultation.roles
        for role in roles:
            usual = default_role(role.name)
            if role.name not in (TRIAGE, SPECIALIST, ATTENDING) or any(
                getattr(role, key) != getattr(usual, key) for key in ("asks", "each", "hears")
            ):
                raise UserError(
                    f"{name}: a training has the roles triage, specialist and attending, each in "
                    f"its usual place, and [roles.{role.name}] is another; fix: remove it, or play "
                    "this consultation without training it"
                )
        if self.consultation.flow != "static":
            raise UserError(
                f"{name}: the attending learns in the static flow, without referrals; fix: omit "
                "flow"
            )
        if not self.consultation.decider.trainable:
            raise UserError(
                f"{name}: the attending must be trained; fix: give [roles.attending] "
                "trainable = true, and no policy"
            )
        for role in roles:
            if role.trainable == (role.policy is not None):
                given = "has a policy and is trainable" if role.trainable else "has no policy"
                raise UserError(
                    f"{name}: [roles.{role.name}] {given}; fix: a trainable role uses the run's "
                    "base, so give either trainable = true or a policy with trainable = false"
                )

    def adapters(self, role: str) -> tuple[str, ...]:
        """The names under which a role's adapters are kept: a specialist has one a specialty."""
        if role != SPECIALIST:
            return (role,)
        return tuple(self.specialist(each) for each in self.consultation.specialties)

    @staticmethod
    def specialist(specialty: str) -> str:
        """The name under which a specialist's adapter is kept."""
        return f"{SPECIALIST}-{specialty.replace(' ', '-')}"

    def newest(self, role: str) -> str | None:
        """The folder of a role's last adapter, `{specialty}` in it; None before there is one."""
        steps = [
            [version.step for version in published(self.folder, name)]
            for name in self.adapters(role)
        ]
        if not all(steps):
            return None
        name = f"{SPECIALIST}-{{specialty}}" if role == SPECIALIST else role
        # All specialties learn for as many steps.
        return str(self.folder / "adapters" / name / str(min(max(each) for each in steps)))

    @contextmanager
    def policies(self) -> Iterator[RolePolicies]:
        """The policies of the roles; those that learn have one base, the recipe's engine or the
        model in this process. All are closed at the end."""
        from ..grpo.stage import engine_of

        policies = RolePolicies()
        try:
            engine = engine_of(self.recipe, self.place)
            form = self.recipe.tools.form
            policies.add(
                BASE,
                engine or model_policy(self.place.cold_start, options=self.options, tool_form=form),
            )
            yield policies
        finally:
            policies.close()

    def role(self, name: str) -> Role:
        """A role of the consultation."""
        return self.consultation.role(name)

    def team(self, policies: RolePolicies, *, without: Collection[str] = ()) -> ConsultationTeam:
        """The consultation as trained so far: each trained role has its last adapter.

        `without` names roles that play by the base without an adapter, as before training.
        """
        roles = tuple(
            replace(
                role,
                policy=BASE,
                adapter=None if role.name in without else self.newest(role.name),
            )
            if role.name in self.trained
            else role
            for role in self.consultation.roles
        )
        return consultation_team(replace(self.consultation, roles=roles), policies)

    def rules(self, role: str, specialty: str = "", *, on: GoldCases | None = None) -> Rules:
        """The rules of a role: its own where it says so, else the recipe's.

        `on` names the cases whose view size counts; by default those of training.
        """
        return self.role(role).rules(self.run.rules(on or self.run.train), specialty)

    def sampling(self, role: str, *, greedy: bool = False) -> Sampling:
        """How a role's replies are sampled."""
        sampling = self.role(role).sampling(self.run.sampling())
        return replace(sampling, temperature=0.0) if greedy else sampling

    def train(
        self,
        role: str,
        cases: Sequence[Case],
        rules: Rules,
        sampling: Sampling,
        *,
        number: int,
        name: str = "",
        weights: Sequence[float] = (),
    ) -> None:
        """Train a role's adapter, kept under `name`, the others frozen, up to a round's end."""
        from ..grpo.stage import train_grpo
        from ..models.checkpoint import load_model

        recipe = self.of_role(role)
        steps = int(recipe.grpo["max_steps"])
        until = -(-steps * (number + 1) // self.recipe.marl.rounds)
        if weights:
            recipe = recipe.model_copy(
                update={"grpo": recipe.grpo | {"entropy_coef": max(weights)}}
            )
        model, processor = load_model(self.place.cold_start, self.options)
        train_grpo(
            recipe,
            model,
            processor,
            cases,
            rules,
            sampling,
            Place(self.folder, name or role),
            callbacks=[partial(Entropy, weights)] if weights and max(weights) else [],
            until=until,
        )

    def of_role(self, role: str) -> Recipe:
        """The recipe with a role's own settings of GRPO and of its rollouts."""
        grpo = self.recipe.grpo | self.recipe.marl.grpo.get(role, {})
        rollout, sight = self.recipe.rollout, self.recipe.sight
        if role != SINGLE:
            sampling = self.sampling(role)
            rollout = rollout.model_copy(
                update={
                    "temperature": sampling.temperature,
                    "max_tokens": sampling.max_tokens,
                    "max_turns": self.role(role).max_turns or rollout.max_turns,
                }
            )
        if role == TRIAGE:
            # Its first answers depend on nothing that it sees, so it begins blind.
            sight = sight.model_copy(update={"every": 0})
        if role == ATTENDING and sight.every:
            # Easy cases teach to trust: there it is no fault that images do not matter.
            stages = [each for each in self.recipe.marl.stages if each.difficulty == "easy"]
            steps = sum(each.share for each in stages) * int(grpo.get("max_steps", 0))
            patience = sight.patience + math.ceil(steps / sight.every)
            sight = sight.model_copy(update={"patience": patience})
        return self.recipe.model_copy(update={"grpo": grpo, "rollout": rollout, "sight": sight})

    def cases(self, role: str, specialty: str | None = None) -> list[Case]:
        """The cases that a role is trained on, in order, before anything is done to them."""
        cases = self.run.ordered
        if specialty is not None:
            cases = cases.of_specialty(specialty)
        return list(cases[: needed(self.of_role(role).grpo, len(cases))])

    def advice(self, team: ConsultationTeam, purpose: str) -> Advice:
        """Asks a team's triage and specialists; `purpose` is in the seed of their replies."""
        return Advice(
            team,
            self.folder / "opinions",
            self.run.rules(self.run.train),
            self.run.sampling(),
            seed_of(self.recipe.seed, purpose),
        )

    def specialists(self, number: int) -> None:
        """Each specialist learns from the cases of its own specialty."""
        sampling = self.sampling(SPECIALIST)
        for specialty in self.consultation.specialties:
            cases = self.cases(SPECIALIST, specialty)
            rules, name = self.rules(SPECIALIST, specialty), self.specialist(specialty)
            self.train(SPECIALIST, cases, rules, sampling, number=number, name=name)

    def triage(self, number: int) -> None:
        """Triage learns the specialty of a case, or the choice that leads to the right answer."""
        consultation, rules = self.consultation, self.rules(TRIAGE)
        cases = self.cases(TRIAGE)
        if self.recipe.marl.triage_reward == "outcome":
            path = self.folder / f"outcomes-{number}.jsonl"
            outcomes = Outcomes.read(path, consultation.most)
            rules = replace(rules, rubric=outcomes.rubric())
            cases = [case for case in cases if case.id in outcomes.cases]
        names, most = consultation.specialties, consultation.most
        asked = [triage_case(case, names, most) for case in cases]
        self.train(TRIAGE, asked, rules, self.sampling(TRIAGE), number=number)

    def outcomes(self, number: int) -> None:
        """Play the outcome of each choice that triage has, and write it down."""
        consultation = self.consultation
        with self.policies() as policies:
            team = self.team(policies)
            recipe = team.recipe
            if self.newest(ATTENDING) is None:
                recipe = recipe.deciding_by("scripted:vote")
            advice = self.advice(team, f"outcomes {number}")
            found = play_out(
                self.cases(TRIAGE),
                advice,
                policies.of(recipe.decider),
                self.rules(ATTENDING),
                self.sampling(ATTENDING),
                specialties=consultation.specialties,
                most=consultation.most,
                seed=seed_of(self.recipe.seed, "outcomes", number),
            )
        if is_first():
            self.leave_out(f"outcomes {number}", advice)
            found.write(self.folder / f"outcomes-{number}.jsonl")

    def opinions(self, number: int) -> None:
        """Collect the opinions that the attending learns from, and write the cases with them."""
        with self.policies() as policies:
            advice = self.advice(self.team(policies), f"opinions {number}")
            advised = advice.triaged(self.run.ordered[: self.recipe.marl.cases])
        if not is_first():
            return
        self.leave_out(f"opinions {number}", advice)
        cases = self.folder / f"advised-{number}.jsonl"
        remove(cases)  # a link would be written through
        write_cases([each.shown for each in advised], cases)
        rows = [
            {
                "round": number,
                "case": each.case.id,
                "difficulty": difficulty(each.case, each.opinions),
                "opinions": [[opinion.who, opinion.answer] for opinion in each.opinions],
            }
            for each in advised
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(self.folder / f"difficulty-{number}.jsonl", text.encode("utf-8"))

    def leave_out(self, stage: str, advice: Advice) -> None:
        """Put the unreadable cases of a stage on record, in place of those of a broken one."""
        self.run.records.forget(stage)
        rows = [
            {"case": case, "why": f"{UNREADABLE}{why}"} for case, why in advice.unreadable.items()
        ]
        self.run.records.add(stage, rows)

    def attending(self, number: int) -> None:
        """The attending learns to weigh opinions and to look, from easy to hard."""
        recipe, marl = self.of_role(ATTENDING), self.recipe.marl
        order = read_cases(self.folder / f"advised-{number}.jsonl")
        lines = read_lines(self.folder / f"difficulty-{number}.jsonl")
        levels = [line["difficulty"] for line in lines]
        steps = int(recipe.grpo["max_steps"])
        weights = [0.0] * steps
        if marl.stages:
            order, weights = staged(
                list(zip(order, levels, strict=True)),
                marl.stages,
                steps=steps,
                groups=needed(recipe.grpo, 10**9) // steps,
                rehearse=marl.rehearse,
                seed=seed_of(self.recipe.seed, "c-marl", number),
            )
        rules, sampling = self.rules(ATTENDING), self.sampling(ATTENDING)
        self.train(ATTENDING, order, rules, sampling, number=number, weights=weights)

    def single(self) -> None:
        """The baseline: the same base and cases, without colleagues."""
        cases = self.cases(SINGLE)
        rules = self.run.rules(self.run.train)
        last = self.recipe.marl.rounds - 1
        self.train(SINGLE, cases, rules, self.run.sampling(), number=last)

    def describe(self) -> None:
        """Write `consultation.toml`, with which the folder is played as `consultation:FOLDER`.

        Its paths are relative, so that the folder can be moved or copied.
        """
        roles = {name: dict(table) for name, table in self.recipe.roles.items()}
        for name in self.trained:
            path, role = self.newest(name), self.role(name)
            assert path is not None, "what is described was trained"
            spec = f"hf:{{here}}/{self.place.cold_start.name}{self.options.query()}"
            learned = {
                "policy": in_tool_form(spec, self.recipe.tools.form),
                "adapter": str(Path(path).relative_to(self.folder)),
            }
            given = {
                "tools": list(self.recipe.tools.names),
                "max_turns": self.recipe.rollout.max_turns,
                "max_tokens": self.recipe.rollout.max_tokens,
            }
            # It plays by the rules that it was trained by, whatever those of a rollout are.
            own = {key: value for key, value in given.items() if getattr(role, key) is None}
            roles[name] = roles.get(name, {}) | own | learned
        tables = {"consultation": self.recipe.consultation or {}, "roles": roles}
        write_atomic(self.folder / "consultation.toml", toml_text(tables).encode("utf-8"))
