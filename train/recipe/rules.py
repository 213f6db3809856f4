"""By which rules a recipe's episodes are played, and how its policy samples replies."""

from medgym.env import DEFAULT_VIEW_SIZE, load_tools
from medgym.episode import Rules
from medgym.policy import Sampling

from .rubric import rubric_of
from .schema import Recipe


def rules_of(recipe: Recipe, view_size: int | None, *, tools: bool = True) -> Rules:
    """The rules of the recipe's episodes on some of its cases.

    Args:
        view_size: what the source of these cases allows (`CaseList.view_size`); the recipe's own
            view size, where it has one, goes before it.
        tools: whether the policy has the recipe's tools; without them it answers at once.
    """
    return Rules(
        tools=load_tools(recipe.tools.names if tools else ()),
        rubric=rubric_of(recipe.rubric),
        max_turns=recipe.rollout.max_turns,
        max_tokens=recipe.rollout.max_context,
        view_size=recipe.rollout.view_size or view_size or DEFAULT_VIEW_SIZE,
    )


def sampling_of(recipe: Recipe, *, greedy: bool = False) -> Sampling:
    """How the policy samples its replies, in training and, unless `greedy`, in judging."""
    temperature = 0.0 if greedy else recipe.rollout.temperature
    return Sampling(temperature=temperature, max_tokens=recipe.rollout.max_tokens)
