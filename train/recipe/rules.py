"""By which rules a recipe's episodes are played, and how its policy samples replies."""

from collections.abc import Sequence

from medgym.cases import Case
from medgym.episode import Rules
from medgym.permissions import by_recipe
from medgym.policy import Sampling

from .rubric import rubric_of
from .schema import Recipe


def rules_of(recipe: Recipe, cases: str | Sequence[Case], *, tools: bool = True) -> Rules:
    """The rules of the recipe's episodes on some of its cases.

    Args:
        cases: a spec or a `CaseList`; their source says how large a view may be, where the recipe
            does not.
        tools: whether the policy has the recipe's tools; without them it answers at once.
    """
    with by_recipe():  # a tool may be another machine's
        return Rules.for_cases(
            cases,
            tools=recipe.tools.names if tools else (),
            rubric=rubric_of(recipe.rubric),
            max_turns=recipe.rollout.max_turns,
            max_tokens=recipe.rollout.max_context,
            view_size=recipe.rollout.view_size,
            view_multiple=recipe.rollout.view_multiple,
        )


def sampling_of(recipe: Recipe, *, greedy: bool = False) -> Sampling:
    """How the policy samples its replies, in training and, unless `greedy`, in judging."""
    temperature = 0.0 if greedy else recipe.rollout.temperature
    return Sampling(temperature=temperature, max_tokens=recipe.rollout.max_tokens)
