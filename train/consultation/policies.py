"""The policies that a trained consultation is judged as: whole, without each part, baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from medgym.cases import Case
from medgym.consultation.opinions import advised_case, triage_case
from medgym.consultation.role import ATTENDING, SINGLE, SPECIALIST, TRIAGE, Role
from medgym.consultation.role_policies import RolePolicies
from medgym.consultation.team import consultation_team, majority_team
from medgym.episode import Rules
from medgym.policy import Policy, Sampling

from .training import BASE, Training

VOTES = 5
"""Episodes of the single policy that vote: about as many replies as a consultation spends."""


@dataclass(frozen=True)
class JudgedPolicy:
    """A policy that is judged, on which cases, by which rules.

    Attributes:
        sampling: how its replies are sampled, greedily or not.
    """

    policy: Policy
    cases: Sequence[Case]
    rules: Rules
    sampling: Callable[[bool], Sampling]


def judged_policies(
    training: Training, cases: Sequence[Case], policies: RolePolicies
) -> dict[str, JudgedPolicy]:
    """All policies that are judged, by their names in `results.json`."""
    recipe, consultation = training.recipe, training.consultation
    after, base = training.team(policies), policies.base(BASE)
    before = training.team(policies, without=(ATTENDING,))
    held_out = training.run.test
    rules = training.run.rules(held_out)

    def own(greedy: bool) -> Sampling:
        return training.run.sampling(greedy=greedy)

    def of(role: str) -> Callable[[bool], Sampling]:
        return lambda greedy: training.sampling(role, greedy=greedy)

    def deciding_by(spec: str) -> Policy:
        return consultation_team(after.recipe.deciding_by(spec), policies)

    found = {
        ATTENDING: JudgedPolicy(after, cases, rules, own),
        "attending_before": JudgedPolicy(before, cases, rules, own),
        "majority": JudgedPolicy(deciding_by("scripted:vote"), cases, rules, own),
        "oracle": JudgedPolicy(deciding_by("scripted:oracle"), cases, rules, own),
        "no_specialists": JudgedPolicy(
            policies.of(after.recipe.decider),
            [advised_case(case, []) for case in cases],
            training.rules(ATTENDING, on=held_out),
            of(ATTENDING),
        ),
    }
    chooser = after.recipe.chooser
    if chooser is not None:
        names, most = consultation.specialties, consultation.most
        asked = [triage_case(case, names, most) for case in cases]
        triage = JudgedPolicy(
            policies.of(chooser), asked, training.rules(TRIAGE, on=held_out), of(TRIAGE)
        )
        found[TRIAGE] = triage
        if TRIAGE in training.trained:
            found["triage_before"] = replace(triage, policy=base)
        fixed = consultation_team(after.recipe.without_triage(), policies)
        found["no_triage"] = JudgedPolicy(fixed, cases, rules, own)
    for specialty in consultation.specialties if SPECIALIST in training.trained else ():
        mine = [case for case in cases if case.specialty == specialty]
        if mine:
            specialist = JudgedPolicy(
                policies.of(after.recipe.role(SPECIALIST), specialty),
                mine,
                training.rules(SPECIALIST, specialty, on=held_out),
                of(SPECIALIST),
            )
            found[f"specialist:{specialty}"] = specialist
            found[f"specialist_before:{specialty}"] = replace(specialist, policy=base)
    if recipe.marl.single:
        role = Role(SINGLE, policy=BASE, adapter=training.newest(SINGLE))
        policy = policies.of(role)
        found[SINGLE] = JudgedPolicy(policy, cases, rules, own)
        found["single_majority"] = replace(found[SINGLE], policy=majority_team(policy, VOTES))
    return found
