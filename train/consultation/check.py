"""Checks of a consultation's training, before anything is written."""

from medgym.consultation.role import SINGLE, SPECIALIST, TRIAGE, Role
from medgym.errors import UserError
from medgym.registry import names
from medgym.spec import with_adapter

from ..grpo.config import check_grpo
from ..grpo.stage import check_engine
from ..run.fingerprint import PlugIn, of_play, of_policies, of_tools
from ..run.judging import JUDGE, JudgingStage
from ..run.opened import Run
from ..run.policies import check_policy
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
            specialties = consultation.specialties if role.name == SPECIALIST else ("",)
            for spec in dict.fromkeys(_spec(role, name) for name in specialties):
                check_policy(spec)
        role.rules(run.rules(run.train))  # which loads its own tools and rubric
    for role_name in (*training.trained, *([SINGLE] if recipe.marl.single else [])):
        check_grpo(training.of_role(role_name))
    check_engine(recipe, run.place, recipe.model.path)
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


def plug_ins(run: Run) -> dict[str, tuple[PlugIn, ...]]:
    """The plug-ins of a consultation, which are used up to its judging; by that stage's name."""
    recipe, found = run.recipe, list[PlugIn]()
    for cases in (run.train, run.test):
        found += of_play(recipe, cases)
    found += of_policies(recipe.rollout.policy)
    for role in Training(run).consultation.roles:
        found += of_policies(role.policy)
        found += of_tools(role.tools or ())
        if role.name in names("roles"):
            found.append(PlugIn("roles", role.name))
        if role.rubric is not None:
            found.append(PlugIn("rubrics", role.rubric.partition(",")[0]))
    return {JudgingStage.name: (*found, PlugIn("judges", JUDGE))}


def _spec(role: Role, specialty: str) -> str:
    """The spec of a role's policy, with its adapter if it names one."""
    spec, adapter = role.spec(specialty), role.folder(specialty)
    return spec if adapter is None else with_adapter(spec, adapter)
