"""Right words against the same looking with a finding that the shown view cannot show.

The knowledge is a bipartite graph of views and findings, as in FetalMind: which finding can be seen
in which view. It is a TOML or JSON file with one table, `views`:

    [views]
    "four-chamber view" = ["ventricular septal defect", "normal heart"]
    "abdominal view" = ["dilated stomach", "normal abdomen"]

A view is named as cases name theirs: by the series of an image, by the body part or by the
modality. Capitals, and a full stop at the end, do not count.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from medgym.cases import Case, normalised
from medgym.errors import UserError
from medgym.files import read_text

from ..builder import Group, PairBuilder, PairSource
from ..pair import Pair
from ..rewording import last_words, reworded, student_of, with_last_words, wrong_options
from ..right import right_episodes

FORM = 'fix: write a table "views" of lists, as views = {"apical view" = ["septal defect"]}'


class KnowledgeGraphPairs(PairBuilder):
    """Pairs whose rejected episode names a finding that none of the case's views can show.

    Where the case offers options, it is one of them that the graph knows; else any finding of the
    graph. A case whose views the graph does not know has no pairs, and neither has one whose right
    answer the graph denies.

    Args:
        file: the graph.
    """

    name: ClassVar[str] = "knowledge-graph"
    needs: ClassVar[tuple[str, ...]] = ("student",)

    def __init__(self, *, file: str) -> None:
        self._views = read_graph(Path(file))
        self._known = sorted({each for found in self._views.values() for each in found})
        self._names = {normalised(each): each for each in self._known}

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """A pair for each episode that answered right."""
        student = student_of(self.name, source)
        case, rng = group.case, source.rng(self.name, group.case)
        impossible = self.impossible(case)
        if not impossible:
            return
        for chosen in right_episodes(group.episodes):
            wrong = impossible[rng.integers(len(impossible))]
            text = reworded(last_words(chosen), case, wrong)
            rejected = with_last_words(chosen, case, text, student) if text else None
            why = f"right against {wrong!r}, which the view cannot show"
            yield Pair(chosen, rejected or chosen, self.name, why)

    def impossible(self, case: Case) -> tuple[str, ...]:
        """The findings that the case's views cannot show, of those that may be answered."""
        shown = [self._views[name] for name in view_names(case) if name in self._views]
        seen = {normalised(each) for found in shown for each in found}
        right = {normalised(gold) for gold in case.golds}
        if not shown or any(gold in self._names and gold not in seen for gold in right):
            return ()
        offered = wrong_options(case) if case.options else self._known
        return tuple(
            each
            for each in offered
            if normalised(each) in self._names and normalised(each) not in seen | right
        )


def view_names(case: Case) -> tuple[str, ...]:
    """How the graph may call what a case shows."""
    named = (*(ref.series for ref in case.images), case.body_part, case.modality)
    return tuple(dict.fromkeys(normalised(name) for name in named if name))


def read_graph(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The findings of each view, by the view's name.

    Raises:
        UserError: the file cannot be read, or is no graph.
    """
    try:
        text = read_text(path, "knowledge graph")
        read = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the knowledge graph {path} ({error}); {FORM}") from error
    views = read.get("views") if isinstance(read, dict) else None
    if not isinstance(views, dict) or not views:
        raise UserError(f"the knowledge graph {path} has no views; {FORM}")
    for name, found in views.items():
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise UserError(f"the view {name!r} in {path} has no list of findings; {FORM}")
    return {normalised(name): tuple(found) for name, found in views.items()}
