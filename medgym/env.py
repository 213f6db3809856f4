"""`MedEnv`: an episode as a Gymnasium environment, and `make`.

    import gymnasium
    env = gymnasium.make("medgym/Phantom-v0")            # after `import medgym`
    env = medgym.make("phantom:train", tools=["zoom"])    # any cases

The action is the text that a policy wrote (see `medgym.messages`); the observation is text and the
newest view on a fixed canvas. The reward is 0 until the end and then the rubric's total.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.episode import DEFAULT_MAX_TURNS, DEFAULT_TOOLS, Episode, Rules
from medgym.errors import UserError
from medgym.imaging.imaging_study import IMAGE
from medgym.messages import MAX_TEXT
from medgym.rubric import Rubric
from medgym.spaces import AnyText
from medgym.tool import Tool
from medgym.workspace import Coordinates, Workspace

Observation = dict[str, Any]

MAX_PLANE = 40
"""The most characters of a plane's name in an observation."""


class MedEnv(gymnasium.Env[Observation, str]):
    """A policy looks at one case with tools, and answers.

    Args:
        cases: a case spec such as `"phantom:train[:1000]"`, or a sequence of cases.
        tools: names of registered tools, or `Tool` objects.
        rubric: name of a registered rubric, or a `Rubric`.
        max_turns: replies after which the episode is truncated.
        max_tokens: token budget of an episode, prompts and images included; the caller
            reports tokens by `spend`.
        view_size: greatest side of a view. By default 448, or what the cases' source asks for.
        coordinates: `"thousandths"` of the addressed view, or view `"pixel"`s.
        render_mode: `"rgb_array"` (the newest view), `"ansi"` (the conversation), or None.

    Observation: `{"text": str, "image": uint8 (view_size, view_size, 3), "plane": str, "index":
    int}`: the image is the newest view, of that plane and index. `info["message"]` is the
    same turn as chat content with all new images at their own size; `info["system"]` (at reset) the
    instructions; `info["score"]` (at the end) the reward's terms.

    Raises:
        UserError: unknown cases, tool, rubric, or a view size that the cases forbid.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        cases: str | Sequence[Case] = "phantom:train",
        tools: Sequence[str | Tool] = DEFAULT_TOOLS,
        rubric: str | Rubric = "outcome",
        *,
        max_turns: int = DEFAULT_MAX_TURNS,
        max_tokens: int | None = None,
        view_size: int | None = None,
        view_multiple: int = 1,
        coordinates: Coordinates = "thousandths",
        render_mode: str | None = None,
    ) -> None:
        self.cases = open_cases(cases)
        if not self.cases:
            raise UserError("the sequence of cases names no case; fix: give at least one")
        self.rules = Rules.for_cases(
            self.cases,
            tools=tools,
            rubric=rubric,
            max_turns=max_turns,
            max_tokens=max_tokens,
            view_size=view_size,
            view_multiple=view_multiple,
            coordinates=coordinates,
        )
        self.render_mode = render_mode
        self.episode: Episode | None = None
        self.action_space = AnyText(MAX_TEXT)
        self.observation_space = Dict(
            {
                "text": AnyText(MAX_TEXT),
                "image": Box(0, 255, (self.rules.view_size, self.rules.view_size, 3), np.uint8),
                "plane": AnyText(MAX_PLANE),
                "index": Box(0, 2**31 - 1, (), np.int32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: of a case drawn by the seed, or of `options={"case": id or index}`."""
        super().reset(seed=seed)
        options = dict(options or {})
        wanted = options.pop("case", None)
        if options:
            raise UserError(f"unknown reset option {min(options)!r}; known: case")
        if wanted is None:
            case = self.cases[int(self.np_random.integers(len(self.cases)))]
        elif isinstance(wanted, str):
            case = self.cases.find(wanted)
        elif -len(self.cases) <= int(wanted) < len(self.cases):
            case = self.cases[int(wanted)]
        else:
            raise UserError(f"no case {wanted} among {len(self.cases)}; fix: lower the index")
        self.episode = self.rules.begin(case)
        system, question = self.episode.messages[:2]
        text = system.text + "\n\n" + question.text
        info = {"case": case.id, "system": system.text, "message": question.chat()}
        return self._observe(text), info

    def spend(self, tokens: int) -> None:
        """Count tokens against the token budget before the step that they belong to."""
        if self.episode is not None:
            self.episode.spend(tokens)

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one reply. Nothing that a policy writes raises."""
        episode = self.episode
        if episode is None or episode.done:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset() first")
        answer = episode.step(action)
        info: dict[str, Any] = {}
        reward = 0.0
        if answer is not None:
            info["message"] = answer.chat()
        if episode.score is not None:
            reward = episode.score.total
            info["score"] = dict(episode.score.terms)
        observation = self._observe(answer.text if answer is not None else "")
        return observation, reward, episode.terminated, episode.truncated, info

    def _observe(self, text: str) -> Observation:
        assert self.episode is not None
        workspace = self.episode.workspace
        newest = workspace.views[-1] if workspace.views else None
        return {
            "text": text,
            "image": canvas(workspace, self.rules.view_size),
            "plane": newest.plane[:MAX_PLANE] if newest else IMAGE,
            "index": np.array(newest.index if newest else 0, np.int32),
        }

    def render(self) -> Any:
        """The newest view (`rgb_array`) or the conversation so far (`ansi`)."""
        if self.render_mode is None or self.episode is None:
            return None
        if self.render_mode == "rgb_array":
            image: NDArray[np.uint8] = self._observe("")["image"]
            return image
        return "\n\n".join(f"[{m.role}] {m.text}" for m in self.episode.messages)


def canvas(workspace: Workspace, side: int) -> NDArray[np.uint8]:
    """The newest view in the top left of a black canvas, (side, side, 3)."""
    views = workspace.views
    shown = views[-1].picture if views else None
    if shown is not None and shown.size == (side, side):
        return np.array(shown)
    blank = np.zeros((side, side, 3), np.uint8)
    if shown is not None:
        blank[: shown.height, : shown.width] = np.asarray(shown)
    return blank


def make(cases: str, **options: Any) -> "gymnasium.Env[Observation, str]":
    """`gymnasium.make` over any cases: `medgym.make("phantom:train", tools=["zoom", "crop"])`.

    The options are those of `MedEnv`. With names rather than objects in them, `env.spec` survives
    JSON.
    """
    return gymnasium.make("medgym/Cases-v0", cases=cases, **options)


def contact_sheet(pictures: Sequence[Image.Image], gap: int = 4) -> Image.Image:
    """Pictures side by side on grey: what a person looks at instead of an array."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(width, 1), max((p.height for p in pictures), default=1)), "grey")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet
