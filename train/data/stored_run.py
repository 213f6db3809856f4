"""What a stored run says of itself: its cases, its rules, and the cases that it is judged by."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.permissions import by_recipe
from medgym.storage.run_folder import RunFolder

from ..recipe.rules import rules_of
from ..recipe.schema import Recipe
from .mixture import training_cases
from .order import GoldCases

_PLAYED = ("tools", "rubric", "max_turns", "view_size")


class StoredRun:
    """A rollout's or a training's own account of what it was asked.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @cached_property
    def _asked(self) -> dict[str, Any]:
        return self._folder.asked

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe of a training; None for a rollout."""
        held = self._folder.manifest.get("recipe")
        if not isinstance(held, dict):
            return None
        try:
            return Recipe.model_validate(held)
        except ValidationError as error:
            raise UserError(
                f"the recipe of {self._folder.path} cannot be read by this version; fix: read the "
                "run with the version of medgym that wrote it"
            ) from error

    def cases(self) -> Sequence[Case]:
        """The cases that were played, or trained on.

        Raises:
            UserError: the run does not say which, or they cannot be opened.
        """
        if self.recipe is not None:
            return training_cases(self.recipe.cases).listed
        spec = self._asked.get("cases")
        if not isinstance(spec, str) or (self._asked.get("command") == "collect" and " " in spec):
            raise UserError(
                f"{self._folder.path} does not say which cases it played; fix: name them by --cases"
            )
        return GoldCases(spec).listed

    def held_out(self) -> list[GoldCases]:
        """The cases that the run's policy is judged by, at the end and while it trains."""
        if self.recipe is None:
            return []
        specs = (self.recipe.cases.test, self.recipe.judge.cases)
        return [GoldCases(spec) for spec in specs if spec is not None]

    def rules(self, cases: Sequence[Case]) -> Rules:
        """The rules by which its episodes were played.

        Raises:
            UserError: the run does not say them.
        """
        if self.recipe is not None:
            return rules_of(self.recipe, cases)
        asked: Mapping[str, Any] = self._asked
        missing = [name for name in _PLAYED if name not in asked and name != "view_size"]
        if missing:
            raise UserError(
                f"{self._folder.path} does not say by which {missing[0]} it played; fix: name a "
                "run of medgym rollout or medgym train"
            )
        with by_recipe():  # a run may come from anyone
            return Rules.for_cases(
                cases,
                tools=asked["tools"],
                rubric=asked["rubric"],
                max_turns=asked["max_turns"],
                view_size=asked.get("view_size"),
                view_multiple=asked.get("view_multiple", 1),
            )
