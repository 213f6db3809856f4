"""The consultation as a PettingZoo environment: each role an agent, acting in turns (AEC).

    env = ConsultationAEC("phantom,question=diagnosis:train", "consultation.toml")
    env.reset(seed=0)
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        env.step(None if terminated or truncated else write(agent, observation))

Triage plays first, then each opinion of the chosen specialties, then the attending; the words,
tools, budgets and rubrics are the recipe's, its policies are not asked: whoever steps the
environment is the policy. An agent's reward is its own rubric's total, at the end of its part. The
dynamic flow is not offered here: a referral is a tool that plays another policy.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import seeding

from medgym.cases import Case, CaseList, open_cases
from medgym.consultation.opinions import (
    ATTENDING,
    TRIAGE,
    Opinion,
    advised_case,
    chosen,
    opinion_of,
    triage_case,
)
from medgym.env import canvas
from medgym.episode import DEFAULT_VIEW_SIZE, Episode, Rules
from medgym.errors import UserError, missing_extra
from medgym.messages import MAX_TEXT
from medgym.rollout.record import looks_of
from medgym.rubric import load_rubric
from medgym.spaces import AnyText
from medgym.tool import load_tools

from .recipe import read_recipe
from .roles import Role

try:
    from pettingzoo import AECEnv
except ModuleNotFoundError as error:
    raise missing_extra("pettingzoo", error) from error


class ConsultationAEC(AECEnv):  # type: ignore[misc]
    """A consultation, step by step.

    Args:
        cases: a case spec, or cases.
        recipe: the consultation, as `consultation:RECIPE` names it.
        max_turns, view_size, tools, rubric: of roles that do not say their own.

    Agents are `triage` (unless the recipe has none), `specialist:NAME/N` for opinion N of each
    specialty, and `attending`. Observations are those of `MedEnv`: the newest message (at first the
    instructions and the question) and the newest view on a canvas. Actions are text.

    Raises:
        UserError: unknown cases or recipe; a dynamic flow.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "medgym_consultation_v0", "render_modes": []}

    def __init__(
        self,
        cases: str | Sequence[Case],
        recipe: str | Path,
        *,
        tools: Sequence[str] = ("zoom",),
        rubric: str = "outcome",
        max_turns: int = 6,
        view_size: int | None = None,
    ) -> None:
        super().__init__()
        found = open_cases(cases) if isinstance(cases, str) else cases
        self.cases = found if isinstance(found, CaseList) else CaseList(found)
        if not len(self.cases):
            raise UserError("there is no case to consult on; fix: widen the slice")
        self.recipe = read_recipe(str(recipe))
        if self.recipe.flow != "static":
            raise UserError('the recipe has a dynamic flow; fix: write flow = "static" in a copy')
        self._given = Rules(
            tools=load_tools(tools),
            rubric=load_rubric(rubric),
            max_turns=max_turns,
            view_size=view_size or self.cases.view_size or DEFAULT_VIEW_SIZE,
        )
        doctors = [
            f"{self.recipe.specialist.name}:{specialty}/{number}"
            for specialty in self.recipe.specialties
            for number in range(self.recipe.opinions)
        ]
        first = [] if self.recipe.triage is None else [TRIAGE]
        self.possible_agents = [*first, *doctors, ATTENDING]
        self.agents: list[str] = []
        self.render_mode = None
        self._np_random, _ = seeding.np_random(None)

    @cache  # noqa: B019 - one space for each agent, the same object at each call
    def observation_space(self, agent: str) -> Dict:
        """`{"text": str, "image": uint8 (view_size, view_size, 3)}`."""
        side = self._given.view_size
        return Dict({"text": AnyText(MAX_TEXT), "image": Box(0, 255, (side, side, 3), np.uint8)})

    @cache  # noqa: B019
    def action_space(self, agent: str) -> AnyText:
        """Any text."""
        return AnyText(MAX_TEXT)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin a consultation on a case drawn by the seed, or on `options={"case": id}`."""
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        wanted = (options or {}).get("case")
        self._case = (
            self.cases.find(wanted)
            if wanted is not None
            else self.cases[int(self._np_random.integers(len(self.cases)))]
        )
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._opinions: list[Opinion] = []
        self._shown: dict[str, dict[str, Any]] = {}
        if self.recipe.triage is not None:
            self._waiting: list[str] = []
            self._begin(TRIAGE)
        else:
            self._ask(self.recipe.specialties)

    def observe(self, agent: str) -> dict[str, Any]:
        """What an agent saw last; nothing before its turn."""
        if agent not in self._shown:
            side = self._given.view_size
            return {"text": "", "image": np.zeros((side, side, 3), np.uint8)}
        return self._shown[agent]

    def step(self, action: str | None) -> None:
        """The selected agent's reply. Nothing that it writes raises."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        answer = self._episode.step(action or "")
        if answer is not None:
            self._show(agent, answer.text)
        if self._episode.done:
            self._end(agent)
        self._accumulate_rewards()

    def _begin(self, agent: str) -> None:
        """The next part: its episode, and what it shows first."""
        self.agent_selection = agent
        recipe, case = self.recipe, self._case
        specialty = agent.partition(":")[2].partition("/")[0]
        role: Role = recipe.attending if agent == ATTENDING else recipe.specialist
        if agent == TRIAGE and recipe.triage is not None:
            role, case = recipe.triage, triage_case(case, recipe.specialties, recipe.most)
        elif agent == ATTENDING:
            order = self._np_random.permutation(len(self._opinions))
            opinions = [self._opinions[int(i)] for i in order]
            case = advised_case(case, opinions, recipe.views)
        self._episode: Episode = role.rules(self._given, specialty).begin(case)
        self._show(agent, "\n\n".join(message.text for message in self._episode.messages))

    def _ask(self, specialties: Sequence[str]) -> None:
        doctors = [a for a in self.possible_agents if a not in (TRIAGE, ATTENDING)]
        self._waiting = [
            doctor
            for doctor in doctors
            if doctor.partition(":")[2].partition("/")[0] in specialties
        ]
        self._next()

    def _next(self) -> None:
        self._begin(self._waiting.pop(0) if self._waiting else ATTENDING)

    def _end(self, agent: str) -> None:
        """An agent's part is over: its reward, and whose turn it is."""
        episode = self._episode
        assert episode.score is not None
        self.rewards[agent] = episode.score.total
        self.infos[agent] = {"score": dict(episode.score.terms), "correct": episode.score.correct}
        if agent == TRIAGE:
            self._ask(chosen(episode.answer, self.recipe.specialties, self.recipe.most))
        elif agent == ATTENDING:
            # All parts end together: in an AEC environment an agent that is done is not asked
            # again, and one that was never asked is done as well.
            for each in self.agents:
                self.terminations[each] = each != agent or episode.terminated
                self.truncations[each] = each == agent and not episode.terminated
            self.agent_selection = self.agents[0]
        else:
            specialty = agent.partition(":")[2].partition("/")[0]
            thought = episode.turns[-1].action.think if self.recipe.reasons else None
            opinion = opinion_of(
                self._case, specialty, episode.answer, thought or "", looks_of(episode)
            )
            self._opinions.append(opinion)
            self._next()

    def _show(self, agent: str, text: str) -> None:
        picture = canvas(self._episode.workspace, self._given.view_size)
        self._shown[agent] = {"text": text[:MAX_TEXT], "image": picture}
