"""What a policy earns when its tools show another case: does it use the views that it asks for?

The overview and the question remain those of the case. Everything that a tool shows or says comes
from the same region of another case's images. The accuracy of a policy that uses its views falls to
chance; a policy whose reward does not change does not need them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from medgym.case_images import names_of
from medgym.cases import Case
from medgym.episode import Episode, Rules
from medgym.errors import UserError
from medgym.imaging.opened import OpenedImage, UnreadableImage, opened_image
from medgym.imaging.study import ImageRef, Study
from medgym.metrics.stretched import stretched
from medgym.seeds import seed_of
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

Images = tuple[ImageRef, ...]


@dataclass(frozen=True)
class ExchangedRules(Rules):
    """Rules whose tools show the images that `others` gives for the id of the played case."""

    others: Mapping[str, Images] = field(default_factory=dict)

    def begin(self, case: Case, studies: Sequence[Study | OpenedImage] | None = None) -> Episode:
        """A new episode of `case` whose tools show another case's images."""
        if case.id not in self.others:
            raise UserError(
                f"no other case was chosen for {case.id}; fix: give `exchanged` all cases to play"
            )
        return _Exchanged(case, self, studies)


def exchanged(rules: Rules, cases: Sequence[Case]) -> Rules:
    """The same rules, but the tools show and describe another case.

    Args:
        rules: tools, rubric, budgets.
        cases: the cases to play. Each is given the images of another one of them, of another
            group, and if possible of the same modality and with as many images. The choice depends
            only on the ids.

    Raises:
        UserError: all cases are of one group.
    """
    alike: dict[tuple[str | None, int], list[Case]] = {}
    everything = sorted({c.id: c for c in cases}.values(), key=lambda c: seed_of("exchange", c.id))
    for case in everything:
        alike.setdefault((case.modality, len(case.images)), []).append(case)
    others: dict[str, Images] = {}
    for circle in alike.values():
        for place, case in enumerate(circle):
            after = (*circle[place + 1 :], *circle[:place], *everything)
            other = next(
                (c.images for c in after if unit_of(c) != unit_of(case) and c.images), None
            )
            if other is None:
                raise UserError(
                    f"no case of another patient can stand in for {case.id}; fix: exchange views "
                    "between cases of at least two groups"
                )
            others[case.id] = other
    kept = {each.name: getattr(rules, each.name) for each in fields(Rules)}
    return ExchangedRules(**kept, others=others)


def unit_of(case: Case) -> str:
    """Whose the case is: its group, else its first image, since another question about that image
    is no other case to see; without images the case itself."""
    if case.group or not case.images:
        return case.group or case.id
    first = case.images[0]
    return f"{first.location} {first.series} {first.frame} {first.plane} {first.index}"


class _Exchanged(Episode):
    """An episode whose tools get a workspace of other images, with the same views in it."""

    def __init__(
        self,
        case: Case,
        rules: ExchangedRules,
        studies: Sequence[Study | OpenedImage] | None = None,
    ) -> None:
        super().__init__(case, rules, studies)
        try:
            opened = [opened_image(ref) for ref in rules.others[case.id]]
            self._others = [
                _fitted(opened[image % len(opened)], own)
                for image, own in enumerate(self.workspace.images)
            ]
        except UserError as error:  # whose text names a file that is none of this case
            raise UnreadableImage(
                f"an image of the case that stands in for {case.id!r} cannot be read; fix: play "
                "that case, which says why"
            ) from error
        self._names = names_of(case)

    def _use(self, tool: Tool, args: ToolArgs, workspace: Workspace) -> ToolResult:
        other = Workspace(
            self._others,
            view_size=workspace.view_size,
            view_multiple=workspace.view_multiple,
            coordinates=workspace.coordinates,
            names=self._names,
        )
        for view in workspace.views[len(self._others) :]:
            other.add(other.again(view, view.place, view.made_by))
        return super()._use(tool, args, other)


def _fitted(other: OpenedImage, own: OpenedImage) -> OpenedImage:
    """The other image in the frame of the case's own, stretched to its size if they differ."""
    if own.has_many:
        return stretched(other, own)
    return OpenedImage.of(_same_size(other.start, own.start))


def _same_size(other: Study, own: Study) -> Study:
    if other.size == own.size:
        return other
    width, height = other.size
    enlarged = other.render((0.0, 0.0, float(width), float(height)), own.size)
    return Study(
        np.asarray(enlarged),
        own.spacing_mm,
        other.modality,
        view_sizes=own.view_sizes,
        pixel_aspect=own.pixel_aspect,
        calibrated=own.calibrated,
    )
