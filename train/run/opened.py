"""A run whose recipe is opened once: its cases, rules, sampling and folder, for all stages."""

from functools import cached_property
from pathlib import Path

from medgym.cases import CaseList
from medgym.episode import Rules
from medgym.policy import Sampling
from medgym.seeds import seed_of
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder

from ..data.mixture import training_cases, training_order
from ..data.order import GoldCases, OrderedCases
from ..data.records import Records
from ..recipe.rules import rules_of, sampling_of
from ..recipe.schema import Recipe
from .overlap import SharedCases, overlap_of
from .processes import by_itself


class Run:
    """What the stages of a run share. Cases are opened when they are first asked for, and once.

    Args:
        recipe: what is asked. folder: where the run lies; it need not be there yet.

    Attributes:
        recipe: as given.
        place: the folder and what lies where in it.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.place = Place(folder)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.place.folder

    @cached_property
    def train(self) -> GoldCases:
        """The cases of training, in the order of their source."""
        return training_cases(self.recipe.cases)

    @cached_property
    def ordered(self) -> OrderedCases:
        """The cases of training, in the order of training."""
        return training_order(self.train, self.recipe.cases.order, self.recipe.seed)

    @cached_property
    def paired(self) -> GoldCases:
        """The cases that pairs are made of: of `[pairs]`, or else those of training."""
        spec = self.recipe.pairs.cases
        return self.train if spec is None else GoldCases(spec)

    @cached_property
    def test(self) -> GoldCases:
        """The cases of judging."""
        return GoldCases(self.recipe.cases.test)

    @cached_property
    def demonstrated(self) -> GoldCases | None:
        """The cases that the cold start imitates episodes of, if it imitates any."""
        table = self.recipe.demonstrations
        return None if table is None else GoldCases(table.cases)

    @cached_property
    def held_out(self) -> GoldCases | None:
        """The cases that the policy is judged on while it trains, if it is."""
        spec = self.recipe.judge.cases
        return None if spec is None else GoldCases(spec)

    def opened(self) -> tuple[GoldCases, ...]:
        """All cases that the recipe names."""
        train = (self.train,) if self.recipe.cases.train is not None else ()
        paired = None if self.recipe.pairs.cases is None else self.paired
        others = (self.demonstrated, paired, self.held_out)
        return (*train, self.test, *(cases for cases in others if cases is not None))

    @property
    def named_cases(self) -> list[tuple[str, CaseList]]:
        """Each spec that the recipe names, and its cases."""
        return [(part.spec, part.listed) for cases in self.opened() for part in cases.parts]

    @property
    def learned(self) -> dict[str, GoldCases]:
        """The cases that are learned from, by the name of their table."""
        learned = {"[demonstrations]": self.demonstrated}
        prefers = bool(self.recipe.dpo or self.recipe.kto)
        if prefers and self.recipe.pairs.cases is not None:
            learned["[pairs] cases"] = self.paired
        elif prefers:
            learned["[cases] train"] = self.train
        if self.recipe.grpo or self.recipe.consultation is not None:
            learned["[cases] train"] = self.train
        return {name: cases for name, cases in learned.items() if cases is not None}

    @cached_property
    def overlaps(self) -> tuple[SharedCases, ...]:
        """What is learned from and judged by, of all cases that the recipe names."""
        learned = self.learned
        pairs = [(self.test, "[cases] test", cases, name) for name, cases in learned.items()]
        if self.held_out is not None:  # it chooses a policy, which is learning from it, too
            judge = (self.held_out, "[judge] cases")
            pairs += [(*judge, cases, name) for name, cases in learned.items()]
            pairs.append((self.test, "[cases] test", *judge))
        found = [
            overlap_of(held_out, cases, (tested, name)) for held_out, tested, cases, name in pairs
        ]
        return tuple(each for each in found if each is not None)

    def rules(self, cases: GoldCases, *, tools: bool = True) -> Rules:
        """The rules of an episode on some of the recipe's cases, by their own view size."""
        return rules_of(self.recipe, cases.listed, tools=tools)

    def sampling(self, *, greedy: bool = False) -> Sampling:
        """How the policy samples its replies."""
        return sampling_of(self.recipe, greedy=greedy)

    def seed(self, purpose: str) -> int:
        """The seed of everything that is random for one purpose."""
        return seed_of(self.recipe.seed, purpose)

    @cached_property
    def base(self) -> Path | str:
        """The base model's folder or hub name; the built-in one is made on first use and cached."""
        if self.recipe.model.path is not None:
            return self.recipe.model.path
        from ..tiny.built import BUILT

        with by_itself():
            return BUILT[str(self.recipe.model.build)].make()

    @property
    def store(self) -> RunFolder:
        """The folder's stores of images and trajectories."""
        return RunFolder(self.folder)

    @property
    def records(self) -> Records:
        """What was left out of training, and why."""
        return Records(self.folder)
