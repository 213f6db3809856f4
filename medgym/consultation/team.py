"""A policy of several roles: what a rollout asks of it, and what it asks of the rollout."""

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

from medgym.cases import Case
from medgym.consultation.recipe import ConsultationRecipe
from medgym.consultation.role_policies import RolePolicies
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling
from medgym.registry import load
from medgym.trajectory import Trajectory


class Play(Protocol):
    """Plays one part: an episode by one role, on the consultation's images and seeds."""

    async def __call__(
        self,
        case: Case,
        policy: Policy,
        rules: Rules,
        *,
        role: str,
        sampling: Sampling | None,
        threads: Executor | None = None,
    ) -> Trajectory:
        """The part's trajectory.

        `role` names it in the seeds: parts of other names differ. `threads` are the threads of its
        tools, if not the rollout's own.
        """


class Team(Policy):
    """A policy of several roles, each of which plays an episode of its own.

    It is played, stored and judged like any other policy. What it plays is a consultation, whose
    trajectory (`record.joined`) has a branch for each part.
    """

    @abstractmethod
    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play the consultation of one case.

        Args:
            case: gold included, which only `play` may see.
            rules: of the role that decides; other roles have their own tools and rubrics.
            play: plays a part.
            sampling: how replies are sampled where a role does not say.
            seed: of the team's own random choices.

        Raises:
            Failure: the machinery failed for good in a part that cannot be done without.
        """

    def members(self) -> Sequence[Policy]:
        """The policies that play the roles, each once; none where the team does not tell them."""
        return ()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """A team consults; it has no reply of its own."""
        raise UserError(f"{self.spec} is a consultation; fix: play it through a rollout")


class ConsultationTeam(Team):
    """Plays the consultations of a recipe.

    Attributes:
        recipe: who takes part, and how it proceeds.
        policies: those that play the roles.
    """

    recipe: ConsultationRecipe
    policies: RolePolicies

    @abstractmethod
    def panel(self, specialty: str) -> Team:
        """The specialists of one specialty without the others: their parts, side by side.

        They are the parts that the consultation would play. The last branch of the trajectory is
        one that did not fail, if there is one.
        """


class ConsultationFactory(Protocol):
    """Makes a `ConsultationTeam`; registered in `medgym.policies` as `consultation`."""

    def __call__(self, recipe: ConsultationRecipe, policies: RolePolicies) -> ConsultationTeam:
        """See `consultation_team`."""


class MajorityFactory(Protocol):
    """Makes a majority vote; registered in `medgym.policies` as `majority`."""

    def __call__(self, policy: Policy, votes: int) -> Team:
        """See `majority_team`."""


def consultation_team(recipe: ConsultationRecipe, policies: RolePolicies) -> ConsultationTeam:
    """The policy that plays a recipe's consultations, with policies that the caller holds."""
    make: ConsultationFactory = load("policies", "consultation")
    return make(recipe, policies)


def majority_team(policy: Policy, votes: int) -> Team:
    """The policy that plays a case `votes` times by `policy` and takes the commonest answer."""
    make: MajorityFactory = load("policies", "majority")
    return make(policy, votes)
