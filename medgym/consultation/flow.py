"""How a consultation proceeds: one generator, which the policy, the PettingZoo environment and
training drive.

The generator yields the parts that can be played now, side by side, and is sent their outcomes in
the same order. It ends after the part that decides. It plays nothing itself: the driver looks up a
part's policy, rules and sampling by its role.

    flow = consultation_flow(recipe, case, order)
    parts = next(flow)
    while parts:
        parts = flow.send([play(part) for part in parts])
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from medgym.cases import Case
from medgym.consultation.opinions import Opinion, advised_case, chosen, opinion_of, triage_case
from medgym.consultation.recipe import ConsultationRecipe
from medgym.consultation.role import SPECIALIST, Role
from medgym.messages import parse_action
from medgym.trajectory import Look, Trajectory


@dataclass(frozen=True)
class RolePart:
    """A part that is to be played: an episode of one role.

    Attributes:
        role: that plays it.
        case: as this role is asked it.
        specialty: for which a specialist plays it; empty for other roles.
        number: which of the parts of this role and specialty it is.
        round: 0, or the number of the referral that asked for it.
        required: whether the consultation fails with it: the choice of specialties, the decision.
        heard: the opinions that the case shows, in that order.
    """

    role: Role
    case: Case
    specialty: str = ""
    number: int = 0
    round: int = 0
    required: bool = False
    heard: tuple[Opinion, ...] = ()

    @property
    def name(self) -> str:
        """As its branch is recorded: `triage`, `specialist:radiologist`, `attending`."""
        return f"{self.role.name}:{self.specialty}" if self.specialty else self.role.name

    @property
    def seed_name(self) -> str:
        """As it stands in seeds: parts that may be repeated are numbered."""
        return self.name if self.required else f"{self.name}/{self.round}/{self.number}"

    @property
    def agent(self) -> str:
        """As an agent of its own: `triage`, `specialist:radiologist/0`, `attending`."""
        return self.name if self.required else f"{self.name}/{self.number}"


@dataclass(frozen=True)
class PartOutcome:
    """What a played part said: its final answer, its last thought, and its looks in order."""

    answer: str | None
    thought: str = ""
    looks: tuple[Look, ...] = ()

    @classmethod
    def of(cls, played: Trajectory) -> "PartOutcome":
        """The outcome of a part's trajectory; one that failed said nothing."""
        last = next((node for node in reversed(played.nodes) if node.role == "assistant"), None)
        thought = (last is not None and parse_action(last.text).think) or ""
        return cls(played.answer, thought, played.looks)


Order = Callable[[Sequence[Opinion]], Sequence[Opinion]]
"""Puts opinions into the order in which they are read."""

Flow = Generator[tuple[RolePart, ...], Sequence[PartOutcome], None]
"""Yields parts and receives their outcomes."""


def consultation_flow(recipe: ConsultationRecipe, case: Case, order: Order) -> Flow:
    """The parts of one consultation, stage by stage; see the module.

    A stage in which no part is to be played (triage chose no specialty) is passed over.
    """
    asked = recipe.specialties
    said: dict[str, list[Opinion]] = {}
    for stage in recipe.stages:
        parts = tuple(
            part for role in stage for part in _parts(recipe, case, role, asked, said, order)
        )
        outcomes = (yield parts) if parts else ()
        for part, outcome in zip(parts, outcomes, strict=True):
            if part.role.chooses:
                asked = chosen(outcome.answer, recipe.specialties, recipe.most)
            else:
                said.setdefault(part.role.name, []).append(heard(recipe, case, part, outcome))


def heard(recipe: ConsultationRecipe, case: Case, part: RolePart, outcome: PartOutcome) -> Opinion:
    """A part's outcome as the roles that hear it read it."""
    reason = outcome.thought if recipe.reasons else ""
    who = part.specialty or part.role.name
    return opinion_of(case, who, outcome.answer, reason, outcome.looks)


def possible_parts(recipe: ConsultationRecipe, case: Case) -> tuple[RolePart, ...]:
    """All parts that a consultation may have, in their order, as if all specialties were chosen.

    Their cases are as if nothing was said yet.
    """
    return tuple(
        part
        for role in recipe.roles
        for part in _parts(recipe, case, role, recipe.specialties, {}, list)
    )


def panel_parts(recipe: ConsultationRecipe, case: Case, specialty: str) -> tuple[RolePart, ...]:
    """The parts of the shipped role `specialist` for one specialty."""
    role = recipe.role(SPECIALIST)
    return tuple(RolePart(role, case, specialty, n) for n in range(recipe.count(role)))


def _parts(
    recipe: ConsultationRecipe,
    case: Case,
    role: Role,
    asked: Sequence[str],
    said: dict[str, list[Opinion]],
    order: Order,
) -> list[RolePart]:
    """The parts of one role."""
    read: tuple[Opinion, ...] = ()
    required = role.chooses or role is recipe.decider
    if role.chooses:
        case = triage_case(case, recipe.specialties, recipe.most)
    elif roles := recipe.heard(role):
        read = tuple(order([opinion for each in roles for opinion in said.get(each.name, ())]))
        case = advised_case(case, read, recipe.views)
    names: Sequence[str] = ("",)
    if role.each == "specialty":
        hears = recipe.chooser is not None and recipe.chooser.name in role.hears
        names = asked if hears else recipe.specialties
    return [
        RolePart(role, case, name, number, required=required, heard=read)
        for name in names
        for number in range(recipe.count(role))
    ]
