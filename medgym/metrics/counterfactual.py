"""What a policy earns when its tools show it another case: does it read what it looks at?

The overview and the question stay the case's own; whatever a tool shows or says comes from the same
region of another case's images. A policy that reads its views falls to chance; one whose reward
stays where it was does not need them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from medgym.cases import Case
from medgym.episode import Episode, Rules
from medgym.errors import UserError
from medgym.imaging.lazy_image import Picture
from medgym.imaging.study import ImageRef, Study, open_image
from medgym.seeds import seed_of
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import View, Workspace

Images = tuple[ImageRef, ...]


@dataclass(frozen=True)
class ExchangedRules(Rules):
    """Rules whose tools look at the images of `others`, by the id of the case that is played."""

    others: Mapping[str, Images] = field(default_factory=dict)

    def begin(self, case: Case, studies: Sequence[Study] | None = None) -> Episode:
        """A new episode of `case`, whose tools see another case's images."""
        if case.id not in self.others:
            raise UserError(
                f"no other case was chosen for {case.id}; fix: give `exchanged` all that is played"
            )
        return _Exchanged(case, self, studies)


def exchanged(rules: Rules, cases: Sequence[Case]) -> Rules:
    """The same rules, but tools show and tell of another case.

    Args:
        rules: tools, rubric, budgets.
        cases: what is to be played. Each is given the images of another one of them, of another
            group, with as many images and of the same modality where there is one; which one
            follows from their ids.

    Raises:
        UserError: no two of the cases differ in their group.
    """
    alike: dict[Any, list[Case]] = {}
    everything = sorted({c.id: c for c in cases}.values(), key=lambda c: seed_of("exchange", c.id))
    for case in everything:
        alike.setdefault((case.modality, len(case.images)), []).append(case)
    others: dict[str, Images] = {}
    for circle in alike.values():
        for place, case in enumerate(circle):
            after = (*circle[place + 1 :], *circle[:place], *everything)
            other = next((c.images for c in after if c.group != case.group and c.images), None)
            if other is None:
                raise UserError(
                    f"no case of another patient can stand in for {case.id}; fix: exchange views "
                    "between cases of at least two groups"
                )
            others[case.id] = other
    kept = {each.name: getattr(rules, each.name) for each in fields(Rules)}
    return ExchangedRules(**kept, others=others)


class _Exchanged(Episode):
    """An episode whose tools get a workspace over other images, with the same views in it."""

    def __init__(
        self, case: Case, rules: ExchangedRules, studies: Sequence[Study] | None = None
    ) -> None:
        super().__init__(case, rules, studies)
        opened = [open_image(ref) for ref in rules.others[case.id]]
        self._others = [
            _fitted(opened[image % len(opened)], study)
            for image, study in enumerate(self.workspace.studies)
        ]
        self._names = (case.id, case.group, *(ref.uri for ref in case.images))

    def _use(self, tool: Tool, args: ToolArgs, workspace: Workspace) -> ToolResult:
        other = Workspace(
            self._others,
            view_size=workspace.view_size,
            coordinates=workspace.coordinates,
            names=self._names,
        )
        for view in workspace.views[len(self._others) :]:
            other.add(_seen(view, self._others[view.image]))
        return super()._use(tool, args, other)


def _seen(view: View, study: Study) -> View:
    """A view as it would be of another image: the same region at the same size."""
    picture = Picture(view.size, lambda: study.render(view.box_px, view.size))
    return View(-1, view.image, view.box_px, picture, view.made_by)


def _fitted(other: Study, own: Study) -> Study:
    """The other image in the frame of the case's own: stretched to its size if need be."""
    if other.size == own.size:
        return other
    width, height = other.size
    stretched = other.render((0.0, 0.0, float(width), float(height)), own.size)
    return Study(np.asarray(stretched), own.spacing_mm, other.modality, view_sizes=own.view_sizes)
