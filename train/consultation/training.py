"""A consultation trained by a recipe: each trainable role an adapter of its own over one base.

Rounds of: the specialists learn (where they are trainable, one adapter for each specialty), triage
learns, the specialists' opinions are collected once for the cases as triage deals them out, the
attending learns from these by the curriculum of `curriculum`. While one learns the others wait, and
what is not trainable is frozen. A single policy without colleagues learns beside them, as a
baseline. Then everybody is judged on held-out cases, all adapters served by one model.

Every stage is done once, as in `run.stages`; each role resumes from its own last checkpoint.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from medgym.cases import Case, read_cases, write_cases
from medgym.consultation.opinions import ATTENDING, SPECIALIST, TRIAGE, advised_case, triage_case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Policy, Sampling
from medgym.registry import load
from medgym.seeds import seed_of
from medgym.storage.adapters import published
from medgym.storage.layout import Place
from medgym.storage.run_folder import toml
from medgym.storage.trajectories import write_atomic

from ..data.order import needed, ordered
from ..recipe.schema import Recipe
from ..run.judging import model_policy, write_results
from ..run.opened import Run
from ..run.stage import do, once
from ..run.stages import START
from .curriculum import Entropy, difficulty, staged
from .judging import SINGLE, judged
from .opinions import Advice
from .triage_reward import Outcomes, play_out

BASE = "hf:base"
"""What a role without a policy is played by: the run's base, with that role's adapter."""


class Training:
    """One training run of a consultation.

    Attributes:
        recipe: what is trained. folder: the run's folder.
        consultation: who takes part, by the recipe's tables.
        trained: the names of the roles that learn.

    Raises:
        UserError: the tables describe no consultation, or none that can be trained.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        self.run = Run(recipe, folder)
        self.place = self.run.place
        tables = {"consultation": recipe.consultation, "roles": recipe.roles}
        self._class: Any = load("policies", "consultation")
        self.consultation = self._class.read(tables, recipe.name)
        every = {name: getattr(self.consultation, name) for name in (TRIAGE, SPECIALIST, ATTENDING)}
        if not every[ATTENDING].trainable:
            raise UserError(
                f"{recipe.name}: the attending is what is trained; fix: let roles.attending have "
                "trainable = true, and no policy"
            )
        for name, role in every.items():
            if role is not None and role.trainable == (role.policy is not None):
                given = "has a policy and is trainable" if role.trainable else "has no policy"
                raise UserError(
                    f"{recipe.name}: [roles.{name}] {given}; fix: what is trained is played by "
                    "the run's base, so give either trainable = true or a policy with "
                    "trainable = false"
                )
        self.trained = tuple(name for name, role in every.items() if role and role.trainable)
        if self.consultation.flow != "static":
            raise UserError(
                f"{recipe.name}: the attending learns in the static flow, without referrals; fix: "
                "leave flow away"
            )
        for name in self.trained:
            if int(self.of_role(name).grpo.get("max_steps", 0)) < 1:
                raise UserError(
                    f"{recipe.name}: how long does the {name} learn? fix: set max_steps under "
                    f"[grpo] or [marl.grpo.{name}]"
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
    def sampler(self) -> Iterator[Policy]:
        """The base that all roles play by, each with its adapter: the recipe's engine, or the model
        in this process."""
        from ..grpo.stage import engine_of

        base = engine_of(self.recipe, self.place) or model_policy(str(self.place.cold_start))
        try:
            yield base
        finally:
            base.close()

    def team(self, base: Policy, *, without: Collection[str] = ()) -> Any:
        """The consultation as it is by now: each trained role by its last adapter over `base`.

        `without` names roles that play by the base as it was before training.
        """
        roles = {
            name: replace(
                getattr(self.consultation, name),
                policy=BASE,
                adapter=None if name in without else self.newest(name),
            )
            for name in self.trained
        }
        team = self._class(replace(self.consultation, **roles))
        team.players.add(BASE, base)
        return team

    def rules(self, role: str, specialty: str = "") -> Rules:
        """By which a role plays: its own where it says so, else the recipe's."""
        found: Rules = getattr(self.consultation, role).rules(
            self.run.rules(self.run.train), specialty
        )
        return found

    def sampling(self, role: str, *, greedy: bool = False) -> Sampling:
        """How a role's replies are drawn."""
        drawn: Sampling = getattr(self.consultation, role).sampling(self.run.sampling())
        return replace(drawn, temperature=0.0) if greedy else drawn

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
        model, processor = load_model(self.place.cold_start)
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
        """The recipe with what it says of a role's GRPO in particular, and of its draws."""
        particular = self.recipe.marl.grpo.get(role, {})
        changes: dict[str, Any] = {"grpo": self.recipe.grpo | particular}
        if role != SINGLE:
            drawn, given = self.sampling(role), self.recipe.rollout
            changes["rollout"] = given.model_copy(
                update={
                    "temperature": drawn.temperature,
                    "max_tokens": drawn.max_tokens,
                    "max_turns": getattr(self.consultation, role).max_turns or given.max_turns,
                }
            )
        if role == TRIAGE:
            # It begins with an answer that depends on nothing that it sees: blind is what it is.
            changes["sight"] = self.recipe.sight.model_copy(update={"every": 0})
        if role == ATTENDING and self.recipe.sight.every:
            # Easy cases teach to trust: that images do not matter meanwhile is no fault of it.
            stages = [each for each in self.recipe.marl.stages if each.difficulty == "easy"]
            steps = sum(each.share for each in stages) * int(changes["grpo"].get("max_steps", 0))
            patience = self.recipe.sight.patience + math.ceil(steps / self.recipe.sight.every)
            changes["sight"] = self.recipe.sight.model_copy(update={"patience": patience})
        return self.recipe.model_copy(update=changes)

    def cases(self, role: str, specialty: str | None = None) -> list[Case]:
        """The cases that a role is trained on, in order, before anything is done to them."""
        recipe = self.of_role(role)
        cases: Sequence[Case] = ordered(self.run.train, recipe.cases.order, recipe.seed)
        if specialty is not None:
            cases = [case for case in cases if case.specialty == specialty]
        return list(cases[: needed(recipe.grpo, len(cases))])

    def advice(self, team: Any, purpose: str) -> Advice:
        """Whom the cases of training are shown to; `purpose` is in the seed of what they say."""
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
        """Triage learns which specialty a case is of, or which choice ends well."""
        consultation, rules = self.consultation, self.rules(TRIAGE)
        if self.recipe.marl.triage_reward == "outcome":
            path = self.folder / f"outcomes-{number}.jsonl"
            rules = replace(rules, rubric=Outcomes.read(path, consultation.most).rubric())
        names, most = consultation.specialties, consultation.most
        asked = [triage_case(case, names, most) for case in self.cases(TRIAGE)]
        self.train(TRIAGE, asked, rules, self.sampling(TRIAGE), number=number)

    def outcomes(self, number: int) -> None:
        """Play what each choice that triage has leads to, and write it down."""
        consultation = self.consultation
        with self.sampler() as base:
            team = self.team(base)
            if self.newest(ATTENDING) is None:
                team = team.deciding_by("scripted:vote")
            found = play_out(
                self.cases(TRIAGE),
                self.advice(team, f"outcomes {number}"),
                team.players.of(team.recipe.attending),
                self.rules(ATTENDING),
                self.sampling(ATTENDING),
                specialties=consultation.specialties,
                most=consultation.most,
                views=consultation.views,
                seed=seed_of(self.recipe.seed, "outcomes", number),
            )
        found.write(self.folder / f"outcomes-{number}.jsonl")

    def opinions(self, number: int) -> None:
        """Collect the opinions that the attending learns from, and write the cases with them."""
        recipe = self.of_role(ATTENDING)
        pool = ordered(self.run.train, recipe.cases.order, recipe.seed)
        with self.sampler() as base:
            advice = self.advice(self.team(base), f"opinions {number}")
            advised = advice.triaged(pool[: self.recipe.marl.cases])
        views = self.consultation.views
        told = [advised_case(case, opinions, views) for case, opinions in advised]
        write_cases(told, self.folder / f"advised-{number}.jsonl")
        rows = [
            {
                "round": number,
                "case": case.id,
                "difficulty": difficulty(case, opinions),
                "opinions": [[o.specialty, o.answer] for o in opinions],
            }
            for case, opinions in advised
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(self.folder / f"difficulty-{number}.jsonl", text.encode("utf-8"))

    def attending(self, number: int) -> None:
        """The attending learns to weigh opinions and to look, from easy to hard."""
        recipe, marl = self.of_role(ATTENDING), self.recipe.marl
        order = read_cases(self.folder / f"advised-{number}.jsonl")
        lines = (self.folder / f"difficulty-{number}.jsonl").read_text("utf-8").splitlines()
        levels = [json.loads(line)["difficulty"] for line in lines]
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
        """Write `consultation.toml`, by which the folder is played as `consultation:FOLDER`.

        It names what lies beside it, so that a folder that is moved or copied plays on.
        """
        roles = {name: dict(table) for name, table in self.recipe.roles.items()}
        for name in self.trained:
            path, role = self.newest(name), getattr(self.consultation, name)
            assert path is not None, "what is described was trained"
            learned = {
                "policy": f"hf:{{here}}/{self.place.cold_start.name}",
                "adapter": str(Path(path).relative_to(self.folder)),
            }
            given = {
                "tools": list(self.recipe.tools.names),
                "max_turns": self.recipe.rollout.max_turns,
                "max_tokens": self.recipe.rollout.max_tokens,
            }
            # It plays as it learned, whatever a rollout's own rules are.
            own = {key: value for key, value in given.items() if getattr(role, key) is None}
            roles[name] = roles.get(name, {}) | own | learned
        tables = {"consultation": self.recipe.consultation or {}, "roles": roles}
        write_atomic(self.folder / "consultation.toml", toml(tables).encode("utf-8"))


def run_consultation(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    training = Training(recipe, folder)
    place = training.place
    if recipe.model.build is not None:
        torch.set_num_threads(1)  # as for a single policy

    do(START, training.run)
    for number in range(recipe.marl.rounds):
        mark = f" {number + 1}" if recipe.marl.rounds > 1 else ""
        # By outcome, triage is rewarded for what the specialists know: they learn first.
        if SPECIALIST in training.trained:
            learn = partial(training.specialists, number)
            once(place, f"specialists{mark}", learn, together=True)
        if TRIAGE in training.trained:
            if recipe.marl.triage_reward == "outcome":
                once(place, f"outcomes{mark}", partial(training.outcomes, number))
            once(place, f"triage{mark}", partial(training.triage, number), together=True)
        once(place, f"opinions{mark}", partial(training.opinions, number))
        once(place, f"attending{mark}", partial(training.attending, number), together=True)
    if recipe.marl.single:
        once(place, SINGLE, training.single, together=True)

    def judge() -> None:
        training.describe()
        with training.sampler() as base:
            figures = judged(training, base)
        write_atomic(folder / "judged.json", json.dumps(figures, indent=1).encode())

    once(place, "judge", judge)
    return write_results(training.run)
