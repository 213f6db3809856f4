"""The consultation as a PettingZoo environment: each role an agent, acting in turns (AEC).

    env = ConsultationAEC("phantom,question=diagnosis:train", "consultation.toml")
    env.reset(seed=0)
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        env.step(None if terminated or truncated else write(agent, info["message"]))

Triage plays first, then each opinion of the chosen specialties, then the attending; a recipe with
other roles has their order. Words, tools, budgets and rubrics are the recipe's. Its policies are
not asked: the code that steps the environment is the policy. An agent's reward is the total of its
own rubric, at the end of its part. The dynamic flow is not offered here, because a referral is a
tool that plays another policy.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import seeding

from medgym.cases import Case, CaseList, open_cases
from medgym.consultation.flow import PartOutcome, RolePart, consultation_flow, possible_parts
from medgym.consultation.opinions import Opinion
from medgym.consultation.recipe import ConsultationRecipe, consultation_of
from medgym.env import canvas
from medgym.episode import Episode, Rules
from medgym.errors import UserError, missing_library
from medgym.messages import MAX_TEXT, Message
from medgym.rollout.record import looks_of
from medgym.spaces import AnyText

try:
    from pettingzoo import AECEnv
except ModuleNotFoundError as error:
    raise missing_library(error) from error


class ConsultationAEC(AECEnv):  # type: ignore[misc]
    """A consultation, step by step.

    Args:
        cases: a case spec, or cases.
        recipe: the consultation: a path or name as in `consultation:RECIPE`, or the tables of one.
        max_turns, view_size, view_multiple, tools, rubric: of roles that do not say their own.

    Agents are `triage` (unless the recipe has none), `specialist:NAME/N` for opinion N of each
    specialty, `attending`, and for a role of the recipe's own `ROLE/N`. Observations are those of
    `MedEnv`: the newest message (at first the instructions and the question) and the newest view on
    a canvas. `info["message"]` is that message as chat content, with all of its images, and at
    first `info["system"]` has the instructions. Actions are text.

    Raises:
        UserError: unknown cases or recipe; a dynamic flow.
    """

    metadata: ClassVar[dict[str, object]] = {"name": "medgym_consultation_v0", "render_modes": []}

    def __init__(
        self,
        cases: str | Sequence[Case],
        recipe: str | Path | Mapping[str, object] | ConsultationRecipe,
        *,
        tools: Sequence[str] = ("zoom",),
        rubric: str = "outcome",
        max_turns: int = 6,
        view_size: int | None = None,
        view_multiple: int = 1,
    ) -> None:
        super().__init__()
        found = open_cases(cases) if isinstance(cases, str) else cases
        self.cases = found if isinstance(found, CaseList) else CaseList(found)
        if not len(self.cases):
            raise UserError("there is no case to consult on; fix: widen the slice")
        self.recipe = consultation_of(recipe)
        if self.recipe.flow != "static":
            raise UserError('the recipe has a dynamic flow; fix: write flow = "static" in a copy')
        self._given = Rules.for_cases(
            self.cases,
            tools=tools,
            rubric=rubric,
            max_turns=max_turns,
            view_size=view_size,
            view_multiple=view_multiple,
        )
        self.possible_agents = [part.agent for part in possible_parts(self.recipe, self.cases[0])]
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

    def reset(self, seed: int | None = None, options: Mapping[str, object] | None = None) -> None:
        """Begin a consultation on a case chosen by the seed, or on `options={"case": id}`."""
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        wanted = (options or {}).get("case")
        self._case = (
            self.cases.find(str(wanted))
            if wanted is not None
            else self.cases[int(self._np_random.integers(len(self.cases)))]
        )
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, object]] = {agent: {} for agent in self.agents}
        self._shown: dict[str, dict[str, object]] = {}
        self._flow = consultation_flow(self.recipe, self._case, self._order)
        self._begin(next(self._flow))

    def observe(self, agent: str) -> dict[str, object]:
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
        self.infos[agent] = {}
        if answer is not None:
            self._show(agent, answer.text, answer)
        if self._episode.done:
            self._end(agent)
        self._accumulate_rewards()

    def _order(self, opinions: Sequence[Opinion]) -> list[Opinion]:
        """In the order in which a role reads them."""
        return [opinions[int(i)] for i in self._np_random.permutation(len(opinions))]

    def _begin(self, parts: Sequence[RolePart]) -> None:
        """The parts of the next stage, one after the other."""
        self._waiting = list(parts)
        self._outcomes: list[PartOutcome] = []
        self._next()

    def _next(self) -> None:
        """The next part: its episode, and what it shows first."""
        part = self._waiting.pop(0)
        self.agent_selection = part.agent
        self._episode: Episode = part.role.rules(self._given, part.specialty).begin(part.case)
        system, question = self._episode.messages[:2]
        self.infos[part.agent] = {"case": part.case.id, "system": system.text}
        self._show(part.agent, f"{system.text}\n\n{question.text}", question)

    def _end(self, agent: str) -> None:
        """An agent's part is over: its reward, and whose turn it is."""
        episode = self._episode
        assert episode.score is not None
        self.rewards[agent] = episode.score.total
        self.infos[agent] |= {"score": dict(episode.score.terms), "correct": episode.score.correct}
        thought = episode.turns[-1].action.think or ""
        self._outcomes.append(PartOutcome(episode.answer, thought, looks_of(episode)))
        if self._waiting:
            self._next()
            return
        try:
            self._begin(self._flow.send(self._outcomes))
        except StopIteration:
            # All parts end together: in an AEC environment an agent that is done is not asked
            # again, and one that was never asked is done as well.
            for each in self.agents:
                self.terminations[each] = each != agent or episode.terminated
                self.truncations[each] = each == agent and not episode.terminated
            self.agent_selection = self.agents[0]

    def _show(self, agent: str, text: str, message: Message) -> None:
        picture = canvas(self._episode.workspace, self._given.view_size)
        self._shown[agent] = {"text": text[:MAX_TEXT], "image": picture}
        self.infos[agent]["message"] = message.chat()
