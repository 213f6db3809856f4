"""Oracle looking: what an ideal look shows is the environment's reply to the first reply.

An episode begins as any other. Whatever the policy writes first, it is then shown the gold regions,
drawn as the tool `zoom` draws them and announced as its views are: by their number and by how many
pixels they show, never by where these lie. If it has made calls, this is in place of their results;
if it has answered, it is asked again. From then on the episode is as any other.

So nothing that is asked about a region is said in words: its kind, its side, how large it is. What
the views by themselves would tell is not asked in this way (see `shown_regions`). The window around
a region is a quarter of the image's sides, wherever the region is and however small. It is larger
only for a region that does not fit, and smaller only in an image so large that the region would
still be shown too small.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from medgym.cases import Case, Region, normalised
from medgym.episode import Episode, Rules, ToolOutcome
from medgym.errors import ToolError, UserError
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Box, Study
from medgym.messages import Final, ImagePart, Malformed, Message, Reply, ToolCall, message
from medgym.metrics.regions import area, findings
from medgym.question import caption_of
from medgym.workspace import View

MADE_BY = "oracle"
"""What trajectories name as the tool of such a look."""

MOST_REGIONS = 4
"""How many regions of a case are shown, the largest ones."""

QUARTER = 0.25
"""The share of an image's sides that a view shows, where nothing speaks against it."""

COARSE = 4
"""Original pixels to a pixel of the view, from which on a window is too large to show anything."""

YES_NO = ("yes", "no", "是", "否", "有", "没有", "不是")
"""Golds of questions that a view of a region would answer, in the languages of the sets."""

_COUNTS = re.compile(
    r"\b(?:how many|number of|count|index|(?:which|what) (?:\w+ )?(?:image|slice|frame)s?)\b"
    r"|多少|几|哪[一张层]",
    re.IGNORECASE,
)
"""What a question says that asks for a number of regions, or for the image of one."""


@dataclass(frozen=True)
class OracleLookRules(Rules):
    """Rules whose episodes reply to the first reply with views of the gold regions."""

    def begin(self, case: Case, studies: Sequence[Study | OpenedImage] | None = None) -> Episode:
        """A new episode of `case` with such a first reply.

        Raises:
            UserError: a region is of no place in its study.
        """
        return _OracleLooks(case, self, studies)


def with_oracle_looks(rules: Rules) -> Rules:
    """The same rules, but the first reply is replied to with what ideal looks show.

    Raises:
        UserError: there is no second reply.
    """
    if rules.max_turns < 2:
        raise UserError(
            "with one reply there is none after an ideal look; fix: raise --max-turns to 2 or more"
        )
    return OracleLookRules(**{each.name: getattr(rules, each.name) for each in fields(Rules)})


class _OracleLooks(Episode):
    """An episode whose first observation is what ideal looks show."""

    def __init__(
        self,
        case: Case,
        rules: OracleLookRules,
        studies: Sequence[Study | OpenedImage] | None = None,
    ) -> None:
        super().__init__(case, rules, studies)
        self._ideal = [self._look(region) for region in shown_regions(case)]

    def _look(self, region: Region) -> View:
        place: dict[str, object] = {}
        if region.plane is not None:
            place = {"plane": region.plane, "index": region.middle}
        try:
            seen = self.workspace.place(region.image, **place)  # type: ignore[arg-type]
            size = self.workspace.images[region.image].size(seen)
        except (ToolError, IndexError) as error:
            why = str(error) if isinstance(error, ToolError) else "it is of no image of the case"
            raise UserError(f"a region of {self._case.id}: {why}; fix: correct regions") from error
        box_px = window(region.box_px, size, self.workspace.view_size)
        return self.workspace.look(
            region.image, box_px, enlarge=True, made_by=MADE_BY, **vars(seen)
        )

    def step(self, reply: Reply | str) -> Message | None:
        """Play one reply; the first one is replied to with the ideal looks."""
        is_first = not self.turns
        said = super().step(reply)
        action = self.turns[-1].action
        if not is_first or not isinstance(action, Final | Malformed) or self.truncated:
            return said
        if said is not None:
            self.messages.pop()
        self.answer, self.terminated, self.score = None, False, None
        views = self._shown()
        lines = [] if said is None else [said.text]
        lines += [caption_of(view, self.workspace) for view in views]
        pictures = [ImagePart(view.number, view.shown) for view in views]
        self.messages.append(message("tool", "\n".join(lines), pictures))
        return self.messages[-1]

    def _call(self, call: ToolCall) -> ToolOutcome:
        if self.turns:
            return super()._call(call)
        views = self._shown()  # with the first call of the reply; none is left for the others
        lines = [caption_of(view, self.workspace) for view in views] or ["See the views above."]
        return ToolOutcome(call, "\n".join(lines), views)

    def _shown(self) -> tuple[View, ...]:
        """The ideal looks that were not shown yet, numbered."""
        views = tuple(self.workspace.add(view) for view in self._ideal)
        self._ideal = []
        return views


def shown_regions(case: Case) -> tuple[Region, ...]:
    """The gold regions that oracle looking shows of a case.

    There are none where showing them would answer the question: where the answer is a region; where
    it is yes or no, for a view of a region says that there is one; where it is how many there are
    or in which image, for there is a view of each and its caption has the image; and of a case with
    a prior image, for a region in one image only says what has changed.
    """
    if case.answer_type == "region" or normalised(case.answer) in YES_NO:
        return ()
    if _COUNTS.search(case.question) or any(ref.role == "prior" for ref in case.images):
        return ()
    largest = sorted(findings(case), key=lambda region: -area(region.box_px))
    return tuple(largest[:MOST_REGIONS])


def window(region: Box, size: tuple[int, int], view_size: int) -> Box:
    """The window that is shown of a region: with the image's aspect, in whole pixels, around the
    region's middle or, at an edge, as near to it as fits."""
    share = QUARTER
    across, down = (region[i + 2] - region[i] for i in (0, 1))
    while share < 1 and not (across <= share * size[0] and down <= share * size[1]):
        share *= 2
    while _is_roomy(share, size, view_size) and 4 * max(across / size[0], down / size[1]) <= share:
        share /= 2
    x0, x1 = _side(region[0], region[2], share, size[0])
    y0, y1 = _side(region[1], region[3], share, size[1])
    return x0, y0, x1, y1


def _is_roomy(share: float, size: tuple[int, int], view_size: int) -> bool:
    """Whether a window is so large that a view shows little of what is in it."""
    return share * max(size) > COARSE * view_size


def _side(low: float, high: float, share: float, size: int) -> tuple[float, float]:
    """The ends of a window along one side. Its length does not depend on where the region is."""
    first, last = math.floor(low), math.ceil(high)
    length = min(size, max(round(share * size), last - first))
    start = min(max(round((low + high - length) / 2), 0, last - length), first, size - length)
    return float(start), float(start + length)
