"""What scripted policies do with a volume: find the slice of a finding, then look at it closely.

It starts with a view that is not of the gold region's images. A look takes two calls: `slice` to
one of these, then `zoom` to a place in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medgym.cases import Case
from medgym.imaging.study import Box, open_study
from medgym.messages import Calls, Message, Reply, parse_action, render_answer, render_call
from medgym.policy import Policy, Sampling

from .windows import Lattice

Guess = Callable[[Sequence[Message], np.random.Generator], str]


@dataclass(frozen=True)
class Site:
    """Where a volume's gold region lies.

    Attributes:
        view: the one that shows the volume at first.
        plane: the one in whose images the region is marked. count: of these images.
        size: (width, height) of each in pixels.
        indices: of the images that show the region, in order.
        box_px: the region in each of them.
    """

    view: int
    plane: str
    count: int
    size: tuple[int, int]
    indices: range
    box_px: Box

    @property
    def middle(self) -> int:
        """The index in the middle of the region."""
        return self.indices[(len(self.indices) - 1) // 2]


class VolumeLooker(Policy):
    """Looks well, looks anywhere, or guesses. Only a look that shows the region tells the gold.

    A good look takes the image in the middle of the region, then the window around it. A random
    look takes any image. Where that image shows the region, the window is good or random again, in
    the same proportion; elsewhere it is random.

    Args:
        site: of the case's gold region. gold: the answer.
        guess: names an answer.
        lattice: the windows at which it looks.
        good, random: probabilities of such a look; otherwise it guesses without a look.
        all_knowing: whether it knows the gold without a look.
    """

    spec = "scripted:demonstrator"

    def __init__(
        self,
        site: Site,
        gold: str,
        guess: Guess,
        lattice: Lattice,
        *,
        good: float = 1.0,
        random: float = 0.0,
        all_knowing: bool = False,
    ) -> None:
        self._site, self._gold, self._guess, self._lattice = site, gold, guess, lattice
        self._good, self._random, self._all_knowing = good, random, all_knowing

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply. Its randomness comes only from the seed of the sampling."""
        return Reply(self._reply(conversation, np.random.default_rng(sampling.seed)))

    def _reply(self, conversation: Sequence[Message], rng: np.random.Generator) -> str:
        made = [_arguments(each) for each in conversation if each.role == "assistant"]
        looks, draw = self._good + self._random, rng.random()
        if not made and draw < looks and _can_look(conversation):
            good = draw < self._good
            index = self._site.middle if good else int(rng.integers(self._site.count))
            where = {"plane": self._site.plane, "index": index}
            return render_call("slice", {"view": self._site.view, **where})
        there = bool(made) and made[0].get("index") in self._site.indices
        if len(made) == 1 and "index" in made[0] and _can_look(conversation):
            good = there and draw * looks < self._good
            box = self._window() if good else self._lattice.random(rng)
            return render_call("zoom", {"view": len(_pictures(conversation)) - 1, "box": box})
        if self._all_knowing or (there and self._is_shown(made[-1].get("box"))):
            return render_answer(self._gold)
        return render_answer(self._guess(conversation, rng))

    def _region(self) -> list[float]:
        """The gold region in thousandths of the image."""
        width, height = self._site.size
        x0, y0, x1, y1 = self._site.box_px
        return [x0 * 1000 / width, y0 * 1000 / height, x1 * 1000 / width, y1 * 1000 / height]

    def _window(self) -> list[int]:
        return self._lattice.around(self._region())

    def _is_shown(self, box: object) -> bool:
        """Whether a box of a call holds the whole gold region."""
        if not isinstance(box, list):
            return False
        x0, y0, x1, y1 = self._region()
        left, top, right, bottom = map(float, box)
        return left <= x0 + 0.5 and top <= y0 + 0.5 and x1 - 0.5 <= right and y1 - 0.5 <= bottom


def _can_look(conversation: Sequence[Message]) -> bool:
    return all(f'{{"name": "{tool}"' in conversation[0].text for tool in ("slice", "zoom"))


def _pictures(conversation: Sequence[Message]) -> list[object]:
    return [part for message in conversation for part in message.images]


def _arguments(made: Message) -> dict[str, object]:
    """What the call of a reply was made with; nothing where it was no call."""
    # Read as the environment reads it: the template may have put an empty thought before it.
    action = parse_action(made.text)
    return dict(action.calls[0].arguments) if isinstance(action, Calls) else {}


def site_of(case: Case) -> Site | None:
    """Where the first gold region lies that is not on the one image that is shown at first.

    Raises:
        UserError: the study cannot be opened.
    """
    for region in case.regions:
        ref = case.images[region.image]
        if region.plane is None or region.index is None or ref.plane is None or ref.index is None:
            continue
        if ref.slab is None and region.lies_on(ref.plane, ref.index):
            continue
        indices = range(region.index, region.index + region.count)
        plane = open_study(ref).planes[region.plane]
        place = region.plane, plane.count, plane.size, indices, region.box_px
        return Site(region.image, *place)
    return None
