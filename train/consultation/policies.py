"""The policies that a trained consultation is judged as: whole, without each part, baselines."""

from collections.abc import Callable, Sequence

from medgym.cases import Case
from medgym.consultation.opinions import advised_case, triage_case
from medgym.consultation.role import ATTENDING, SINGLE, SPECIALIST, TRIAGE, Role
from medgym.consultation.role_policies import RolePolicies
from medgym.consultation.team import consultation_team, majority_team
from medgym.episode import Rules
from medgym.policy import Policy, Sampling

from ..run.judging import Contestant
from .training import BASE, Training

VOTES = 5
"""Episodes of the single policy that vote: about as many replies as a consultation spends."""


def contestants(training: Training, policies: RolePolicies) -> list[Contestant]:
    """All policies that are judged. They share `policies`, which the caller closes."""
    recipe, consultation, cases = training.recipe, training.consultation, training.run.test
    after, base = training.team(policies), policies.base(BASE)
    before = training.team(policies, without=(ATTENDING,))
    rules = training.run.rules(cases)
    found: list[Contestant] = []

    def whole(greedy: bool) -> Sampling:
        return training.run.sampling(greedy=greedy)

    def add(
        name: str,
        policy: Policy,
        some: Sequence[Case] = cases,
        own: Rules = rules,
        sampling: Callable[[bool], Sampling] = whole,
    ) -> None:
        found.append(Contestant(name, lambda: policy, some, own, sampling, shared=True))

    def add_role(
        name: str, policy: Policy, some: Sequence[Case], role: str, specialty: str = ""
    ) -> None:
        own = training.rules(role, specialty, on=cases)

        def sampling(greedy: bool) -> Sampling:
            return training.sampling(role, greedy=greedy)

        add(name, policy, some, own, sampling)

    add(ATTENDING, after)
    add("attending_before", before)
    for name, spec in (("majority", "scripted:vote"), ("oracle", "scripted:oracle")):
        add(name, consultation_team(after.recipe.deciding_by(spec), policies))
    alone = [advised_case(case, []) for case in cases]
    add_role("no_specialists", policies.of(after.recipe.decider), alone, ATTENDING)
    chooser = after.recipe.chooser
    if chooser is not None:
        asked = [triage_case(case, consultation.specialties, consultation.most) for case in cases]
        add_role(TRIAGE, policies.of(chooser), asked, TRIAGE)
        if TRIAGE in training.trained:
            add_role("triage_before", base, asked, TRIAGE)
        add("no_triage", consultation_team(after.recipe.without_triage(), policies))
    for specialty in consultation.specialties if SPECIALIST in training.trained else ():
        own = [case for case in cases if case.specialty == specialty]
        if own:
            policy = policies.of(after.recipe.role(SPECIALIST), specialty)
            add_role(f"specialist:{specialty}", policy, own, SPECIALIST, specialty)
            add_role(f"specialist_before:{specialty}", base, own, SPECIALIST, specialty)
    if recipe.marl.single:
        role = Role(SINGLE, policy=BASE, adapter=training.newest(SINGLE))
        single = policies.of(role)
        add(SINGLE, single)
        add("single_majority", majority_team(single, VOTES))
    return found
