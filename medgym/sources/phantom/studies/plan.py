"""The plan of a phantom study: its pixels and its gold follow from it, and it from its name."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from medgym.cases import Mask
from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.seeds import seed_of
from medgym.sources.phantom.lesions import Cells, lesion_cells, shuffled
from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.settings import FIRST, SIDES, SPLITS
from medgym.sources.phantom.studies.settings import (
    CHANGES,
    CLIP,
    DIFFICULTIES,
    LENGTHS,
    MAX_ASPECT,
    MOST_LESIONS,
    STUDY_LOOKS,
)
from medgym.sources.phantom.studies.textures import GRIDS, KINDS, StudyGrid

LEVELS = 5
"""Means that a lesion may have."""


@dataclass(frozen=True)
class Finding:
    """A lesion.

    Attributes:
        kind: its texture.
        cells: its blocks as (column, row) on the grid of blocks, alike on each image.
        first, count: the images on which it lies.
        level: which of `LEVELS` its mean is.
    """

    kind: str
    cells: Cells
    first: int
    count: int
    level: int

    @property
    def images(self) -> range:
        """The images on which it lies."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True)
class StudyName:
    """What names a phantom study among those of a split; it says nothing about the gold.

    Attributes:
        look: one of `STUDY_LOOKS`.
        size: side of an image in pixels. depth: how many images there are.
        difficulty: one of `DIFFICULTIES`.
    """

    look: str
    size: int
    depth: int
    difficulty: str

    @property
    def text(self) -> str:
        """As it stands in addresses and ids."""
        return f"{self.size}x{self.depth}-{self.difficulty}"


@dataclass(frozen=True)
class StudyPlan:
    """Everything about one image series of a phantom study.

    Attributes:
        split, name, number: its name. variant: which of the images of this phantom it is.
        seed: of the background.
        findings: its lesions.
    """

    split: str
    name: StudyName
    number: int
    variant: str
    seed: int
    findings: tuple[Finding, ...]

    @property
    def uri(self) -> str:
        """Names the pixels and says nothing about the gold."""
        name = "-".join(filter(None, (self.name.text, self.variant)))
        return f"phantom:{self.split}/{self.name.look}/{name}/{self.number}"

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return self.name.size

    @property
    def depth(self) -> int:
        """How many images there are."""
        return self.name.depth

    @property
    def grid(self) -> StudyGrid:
        """The grid of its images."""
        return GRIDS[self.name.size]

    @property
    def spacing_mm(self) -> float:
        """Millimetres per pixel, the same along rows and columns."""
        return STUDY_LOOKS[self.name.look].setting.block_mm / self.grid.block

    @property
    def step_mm(self) -> float:
        """Millimetres from image to image."""
        return self.spacing_mm * min(MAX_ASPECT, self.size // self.depth)

    def box_px(self, finding: Finding) -> tuple[int, int, int, int]:
        """A lesion's box in pixels, end exclusive."""
        columns, rows = [c for c, _ in finding.cells], [r for _, r in finding.cells]
        block = self.grid.block
        return (
            min(columns) * block,
            min(rows) * block,
            (max(columns) + 1) * block,
            (max(rows) + 1) * block,
        )

    def mask(self, finding: Finding) -> Mask:
        """A lesion's pixels on each of its images."""
        block, width = self.grid.block, self.size
        _, y0, _, y1 = self.box_px(finding)
        runs: list[int] = []  # lengths of 0s and of 1s, alternating
        zeros = y0 * width
        for row in range(y0 // block, y1 // block):
            columns = sorted(c for c, r in finding.cells if r == row)
            left, right = columns[0] * block, (columns[-1] + 1) * block
            for _ in range(block):
                runs += (zeros + left, right - left)
                zeros = width - right
        return Mask(width=width, height=width, counts=(*runs, zeros + (width - y1) * width))

    def side(self, finding: Finding) -> str:
        """The half of an image in which the whole lesion lies."""
        return SIDES[0] if self.box_px(finding)[2] <= self.size // 2 else SIDES[1]


@lru_cache(maxsize=256)
def study_plan(split: str, name: StudyName, number: int, variant: str = "") -> StudyPlan:
    """The study of that name. It depends only on its name."""
    count = FIRST[split] + number
    seed = seed_of("phantom study", name.look, name.text, count)
    findings = _several(name, count) if variant == "several" else (_finding(name, count),)
    if variant == "prior":
        findings = _before(findings[0], change_of(name, count))
    return StudyPlan(split, name, number, variant, seed, findings)


def change_of(name: StudyName, count: int) -> str:
    """What has become of the lesion of a phantom since the visit before; `count` is its number
    among those of all splits."""
    deck = seed_of("phantom change", name.look, name.text, count // len(CHANGES))
    return shuffled(CHANGES, RandomStream(deck))[count % len(CHANGES)]


_DECK = tuple(product(KINDS, SIDES, LENGTHS))


@lru_cache(maxsize=256)
def _deck(name: StudyName, number: int) -> tuple[tuple[str, str, int], ...]:
    return shuffled(
        _DECK, RandomStream(seed_of("phantom study deck", name.look, name.text, number))
    )


def _finding(name: StudyName, count: int) -> Finding:
    kind, side, length = _deck(name, count // len(_DECK))[count % len(_DECK)]
    rng = RandomStream(seed_of("phantom study lesion", name.look, name.text, count))
    return _placed(name, rng, kind, side, length)


def _placed(name: StudyName, rng: RandomStream, kind: str, side: str, length: int) -> Finding:
    field = STUDY_LOOKS[name.look].setting.field
    grid = name.size // GRIDS[name.size].block
    # The lesion of the visit before may be larger by one block.
    cells = lesion_cells(rng, field, grid, side, length, spare=1)
    images = max(1, name.depth // 4) if name.difficulty == "easy" else 1
    earliest = 1 if name.look == CLIP else 0
    first = rng.integer(earliest, name.depth - images + 1)
    return Finding(kind, cells, first, images, rng.integer(0, LEVELS))


def _several(name: StudyName, count: int) -> tuple[Finding, ...]:
    """One lesion to `MOST_LESIONS`, no two of them above each other."""
    rng = RandomStream(seed_of("phantom study lesions", name.look, name.text, count))
    deck = seed_of("phantom study number", name.look, name.text, count // MOST_LESIONS)
    wanted = shuffled(range(1, MOST_LESIONS + 1), RandomStream(deck))[count % MOST_LESIONS]
    found: list[Finding] = []
    taken: set[tuple[int, int]] = set()
    while len(found) < wanted:
        kind, side = KINDS[rng.integer(0, len(KINDS))], SIDES[rng.integer(0, len(SIDES))]
        placed = _placed(name, rng, kind, side, LENGTHS[rng.integer(0, 2)])
        around = {(c + i, r + j) for c, r in placed.cells for i in (-1, 0, 1) for j in (-1, 0, 1)}
        if not around & taken:
            taken |= set(placed.cells)
            found.append(placed)
    return tuple(found)


def _before(now: Finding, change: str) -> tuple[Finding, ...]:
    """The lesion at the visit before, if there was one."""
    if change == "new":
        return ()
    if change == "unchanged":
        return (now,)
    columns, rows = [c for c, _ in now.cells], [r for _, r in now.cells]
    more = 1 if change == "smaller" else -1
    cells = tuple(
        (column, row)
        for row in range(min(rows), max(rows) + 1 + more)
        for column in range(min(columns), max(columns) + 1 + more)
    )
    return (Finding(now.kind, cells, now.first, now.count, now.level),)


def study_of(ref: ImageRef) -> StudyPlan:
    """The plan that the URI of a phantom study names; `UserError` if it names none."""
    parts = ref.uri.removeprefix("phantom:").split("/")
    if ref.uri.startswith("phantom:") and len(parts) == 4 and parts[1] in STUDY_LOOKS:
        split, look, text, number = parts
        sides, _, rest = text.partition("-")
        size, _, depth = sides.partition("x")
        difficulty, _, variant = rest.partition("-")
        if (
            split in SPLITS
            and size in map(str, STUDY_LOOKS[look].sizes)
            and depth in map(str, STUDY_LOOKS[look].depths)
            and difficulty in DIFFICULTIES
            and variant in STUDY_LOOKS[look].variants
            and not text.endswith("-")
            and number.isdecimal()
            and number.isascii()
            and int(number) < SPLITS[split]
        ):
            name = StudyName(look, int(size), int(depth), difficulty)
            return study_plan(split, name, int(number), variant)
    raise UserError(
        f"no phantom has the address {ref.uri!r}; fix: take it from a case, such as "
        f"phantom:train/{next(iter(STUDY_LOOKS))}/256x16-easy/17"
    )
