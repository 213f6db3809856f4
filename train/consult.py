"""A consultation trained by a recipe: each trainable role an adapter of its own over one base.

Rounds of: triage learns (the others wait), the specialists' opinions are collected once for the
cases as triage deals them out, the attending learns from these by the curriculum of `c_marl`. What
is not trained is frozen. A single policy without colleagues learns beside them, as a baseline. Then
everybody is judged on held-out cases, all adapters served by one model.

Every stage is done once, as in `pipeline`; each role resumes from its own last checkpoint.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from medgym.cases import Case
from medgym.consultation import ATTENDING, TRIAGE, Opinion, advised_case, chosen, triage_case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.registry import load
from medgym.rollout import collect
from medgym.runs import RunFolder
from medgym.seeds import seed_of
from medgym.store import write_atomic

from .c_marl import Entropy, difficulty, staged
from .consult_judge import SINGLE, judged
from .order import gold_cases, needed, ordered
from .pipeline import Place, cold_start, load_base, model_policy, rules_of, sampling_of
from .recipe import Recipe

BASE = "hf:base"
"""What a role without a policy is played by: the run's base, with that role's adapter."""


class Training:
    """One training run of a consultation.

    Attributes:
        recipe: what is trained. folder: the run's folder.
        consultation: who takes part, by the recipe's tables.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        self.place = Place(folder)
        tables = {"consultation": recipe.consultation, "roles": recipe.roles}
        self._class: Any = load("policies", "consultation")
        self.consultation = self._class.read(tables, recipe.name)
        for role in (self.consultation.triage, self.consultation.attending):
            if role is None or role.policy is not None or not role.trainable:
                raise UserError(
                    f"{recipe.name}: triage and attending are what is trained; mend: leave their "
                    "policy out, trainable and [consultation] triage at true"
                )

    def team(self, base: Policy | None = None, **adapters: Path | None) -> Any:
        """The consultation with these adapters of its roles, over one model in memory."""
        base = base or model_policy(str(self.place.cold_start))
        recipe = self.consultation
        roles = {
            name: replace(
                getattr(recipe, name), policy=BASE, adapter=str(path) if path is not None else None
            )
            for name, path in adapters.items()
        }
        team = self._class(replace(recipe, **roles))
        team.players.add(BASE, base)
        return team

    def newest(self, role: str) -> Path:
        """The last adapter of a role."""
        return Path(Place(self.folder, role).trained.partition("@")[2])

    def rules(self, team: Any, role: str) -> Rules:
        """By which a role plays: its own where it says so, else the recipe's."""
        given = rules_of(self.recipe)
        found: Rules = team.rules_of(getattr(self.consultation, role), given)
        return found

    def sampling(self, role: str, *, greedy: bool = False) -> Sampling:
        """How a role's replies are drawn."""
        drawn: Sampling = getattr(self.consultation, role).sampling(sampling_of(self.recipe))
        return replace(drawn, temperature=0.0) if greedy else drawn

    def train(
        self,
        role: str,
        cases: Sequence[Case],
        rules: Rules,
        sampling: Sampling,
        *,
        number: int,
        weights: Sequence[float] = (),
    ) -> None:
        """Train a role's adapter, the others frozen, up to the end of a round."""
        from .checkpoint import load_model
        from .optimise import train_grpo

        recipe = self.of_role(role)
        steps = int(recipe.grpo.get("max_steps", 0))
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
            Place(self.folder, role),
            callbacks=[partial(Entropy, weights)] if weights and max(weights) else [],
            until=until,
        )

    def of_role(self, role: str) -> Recipe:
        """The recipe with what it says of a role's GRPO in particular, and of its draws."""
        particular = self.recipe.marl.grpo.get(role, {})
        changes: dict[str, Any] = {"grpo": self.recipe.grpo | particular}
        if role != SINGLE:
            drawn = self.sampling(role)
            changes["rollout"] = self.recipe.rollout.model_copy(
                update={"temperature": drawn.temperature, "max_tokens": drawn.max_tokens}
            )
        if role == TRIAGE:
            # It begins with an answer that depends on nothing that it sees: blind is what it is.
            changes["sight"] = self.recipe.sight.model_copy(update={"every": 0})
        return self.recipe.model_copy(update=changes)

    def cases(self, role: str) -> list[Case]:
        """The cases that a role is trained on, in order, before anything is done to them."""
        recipe = self.of_role(role)
        cases = ordered(gold_cases(recipe.cases.train), recipe.cases.order, recipe.seed)
        return cases[: needed(recipe.grpo, len(cases))]

    def triage(self, number: int) -> None:
        """Triage learns which specialty a case is of."""
        team = self.team(triage=None)
        specialties = self.consultation.specialties
        every = gold_cases(self.recipe.cases.train)
        lost = [case.id for case in every if case.specialty not in specialties]
        if lost:
            raise UserError(
                f"{len(lost)} cases are of no specialty that triage may choose (as {lost[0]}); "
                "mend: name it in [consultation] specialties"
            )
        asked = [triage_case(case, specialties) for case in self.cases(TRIAGE)]
        self.train(TRIAGE, asked, self.rules(team, TRIAGE), self.sampling(TRIAGE), number=number)

    def advised(
        self, cases: Sequence[Case], team: Any, purpose: str
    ) -> list[tuple[Case, list[Opinion]]]:
        """Cases with the opinions of the specialists whom triage chooses, each collected once."""
        rules = rules_of(self.recipe)
        seed = seed_of(self.recipe.seed, purpose)
        sampling = sampling_of(self.recipe)
        specialties = self.consultation.specialties
        most = self.consultation.most
        asked = [triage_case(case, specialties) for case in cases]
        whom: list[tuple[str, ...]] = []
        with progress("triage", len(cases)) as advance:
            triage = team.players.of(team.recipe.triage)
            stream = collect(
                asked,
                triage,
                self.rules(team, TRIAGE),
                sampling=self.sampling(TRIAGE),
                seed=seed,
                ordered=True,
            )
            for played in stream:
                whom.append(chosen(played.answer, specialties, most))
                advance()
        said: dict[str, list[Opinion]] = {case.id: [] for case in cases}
        for specialty in specialties:
            seen = [case for case, names in zip(cases, whom, strict=True) if specialty in names]
            for case, opinions in self._opinions(
                team.panel(specialty), seen, rules, sampling, seed
            ):
                said[case.id] += opinions
        return [(case, said[case.id]) for case in cases]

    def _opinions(
        self, panel: Any, cases: Sequence[Case], rules: Rules, sampling: Sampling, seed: int
    ) -> list[tuple[Case, list[Opinion]]]:
        """A panel's opinions on cases; those that were collected before are taken as they are."""
        if not cases:
            return []
        role = self.consultation.specialist
        asked = {
            "panel": panel.spec, "prompt": role.prompt, "adapter": role.adapter or "",
            "opinions": self.consultation.opinions, "seed": seed, "tools": list(role.tools or ()),
        }  # fmt: skip
        name = f"{seed_of(json.dumps(asked)):016x}"
        path = self.folder / "opinions" / name
        run = RunFolder.open(path) if path.exists() else RunFolder.create(path, asked)
        held = {trajectory.case_id for trajectory in run.trajectories}
        missing = [case for case in cases if case.id not in held]
        with progress(f"opinions: {panel.specialty}", len(missing)) as advance:
            for _ in collect(missing, panel, rules, sampling=sampling, seed=seed, out=run):
                advance()
        known = {case.id: case for case in cases}
        return [
            (known[played.case_id], panel.opinions(known[played.case_id], played, seed))
            for played in run.trajectories
            if played.case_id in known
        ]

    def attending(self, number: int) -> None:
        """The attending learns to weigh opinions and to look, from easy to hard."""
        recipe = self.of_role(ATTENDING)
        marl = self.recipe.marl
        pool = ordered(gold_cases(recipe.cases.train), recipe.cases.order, recipe.seed)
        team = self.team(triage=self.newest(TRIAGE), attending=None)
        advised = self.advised(pool[: marl.cases], team, f"opinions {number}")
        sorted_out = [
            (advised_case(case, opinions), difficulty(case, opinions)) for case, opinions in advised
        ]
        self._note_difficulties(number, advised)
        steps = int(recipe.grpo["max_steps"])
        groups = needed(recipe.grpo, 10**9) // steps
        order, weights = [case for case, _ in sorted_out], [0.0] * steps
        if marl.stages:
            order, weights = staged(
                sorted_out,
                marl.stages,
                steps=steps,
                groups=groups,
                rehearse=marl.rehearse,
                seed=seed_of(self.recipe.seed, "c-marl", number),
            )
        self.train(
            ATTENDING,
            order,
            self.rules(team, ATTENDING),
            self.sampling(ATTENDING),
            number=number,
            weights=weights,
        )

    def _note_difficulties(
        self, number: int, advised: Sequence[tuple[Case, Sequence[Opinion]]]
    ) -> None:
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

    def single(self) -> None:
        """The baseline: the same base, cases and budget, without colleagues."""
        cases = self.cases(SINGLE)
        rules = rules_of(self.recipe)
        last = self.recipe.marl.rounds - 1
        self.train(SINGLE, cases, rules, sampling_of(self.recipe), number=last)

    def describe(self) -> None:
        """Write `consultation.toml`, by which the folder is played as `consultation:FOLDER`."""
        from medgym.runs import toml

        adapters = {TRIAGE: self.newest(TRIAGE), ATTENDING: self.newest(ATTENDING)}
        roles = {name: dict(table) for name, table in self.recipe.roles.items()}
        for name, path in adapters.items():
            roles.setdefault(name, {}).update(
                policy=f"hf:{self.place.cold_start.resolve()}",
                adapter=str(path.relative_to(self.folder)),
            )
        tables = {"consultation": self.recipe.consultation or {}, "roles": roles}
        write_atomic(self.folder / "consultation.toml", toml(tables).encode("utf-8"))


def run_consultation(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Do every stage that is not done yet; returns what `results.json` holds."""
    training = Training(recipe, folder)
    place = training.place
    if recipe.model.build is not None:
        torch.set_num_threads(1)  # as for a single policy

    def once(name: str, work: Callable[[], None]) -> None:
        if name not in place.stages():
            with place.stage(name):
                work()

    if "cold_start" not in place.stages():
        with place.stage("base"):
            base = load_base(recipe)
        with place.stage("cold_start"):
            cold_start(recipe, base, place)
    for number in range(recipe.marl.rounds):
        mark = f" {number + 1}" if recipe.marl.rounds > 1 else ""
        once(f"triage{mark}", lambda n=number: training.triage(n))  # type: ignore[misc]
        once(f"attending{mark}", lambda n=number: training.attending(n))  # type: ignore[misc]
    if recipe.marl.single:
        once(SINGLE, training.single)
    training.describe()

    def judge() -> None:
        figures = judged(training)
        write_atomic(folder / "judged.json", json.dumps(figures, indent=1).encode())

    once("judge", judge)
    seconds = place.stages()
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "policies": json.loads((folder / "judged.json").read_text()),
        "seconds": seconds | {"total": round(sum(seconds.values()), 1)},
    }
    write_atomic(folder / "results.json", json.dumps(results, indent=1).encode())
    return results
