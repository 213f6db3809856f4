"""Checks of a consultation's training, before anything is written."""

import asyncio

from medgym.consultation.role import SINGLE, SPECIALIST, TRIAGE
from medgym.errors import UserError
from medgym.policy import load_policy, read_spec

from ..grpo.config import check_grpo
from ..run.opened import Run
from .training import Training


def check(run: Run) -> None:
    """Check the roles of a run's consultation and the specialties of its cases.

    Raises:
        UserError: roles that cannot be trained or loaded, or cases without a specialty where a
            role learns by it.
    """
    training = Training(run)
    recipe = run.recipe
    consultation = training.consultation
    for role in consultation.roles:
        if role.name not in training.trained:
            names = consultation.specialties if role.name == SPECIALIST else ("",)
            for spec in dict.fromkeys(role.spec(name) for name in names):
                _ready(spec)
    for role_name in (*training.trained, *([SINGLE] if recipe.marl.single else [])):
        check_grpo(training.of_role(role_name))
    if TRIAGE not in training.trained and SPECIALIST not in training.trained:
        return
    found = [(case.id, case.specialty) for case in training.run.train.facts]
    if TRIAGE in training.trained and recipe.marl.triage_reward == "specialty":
        lost = [case for case, specialty in found if specialty not in consultation.specialties]
        if lost:
            raise UserError(
                f"{len(lost)} cases have no specialty that triage may choose (such as {lost[0]}); "
                "fix: name it in [consultation] specialties, or set [marl] "
                'triage_reward = "outcome"'
            )
    if SPECIALIST in training.trained:
        known = {specialty for _, specialty in found}
        for specialty in consultation.specialties:
            if specialty not in known:
                raise UserError(
                    f"no case is for the {specialty}, which is to learn; fix: remove it from "
                    "[consultation] specialties"
                )


def _ready(spec: str) -> None:
    kind, rest, adapter = read_spec(spec)
    if kind.local_model is True:  # a model is loaded when its turn comes
        kind.check_spec(rest, adapter)
        return
    policy = load_policy(spec)
    try:
        asyncio.run(policy.check())
    finally:
        policy.close()
