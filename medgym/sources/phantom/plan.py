"""The plan of a phantom: everything about it, of which its pixels and its gold follow."""

from dataclasses import dataclass

from medgym.cases import Mask
from medgym.imaging.study import Study
from medgym.seeds import seed_of
from medgym.sources.phantom.modalities import GRIDS, Lesion, Pixels, draw, view_sizes
from medgym.sources.phantom.settings import SETTINGS, SIDES, STAGES


@dataclass(frozen=True)
class PhantomPlan:
    """Everything about one phantom: its pixels and its gold follow from it.

    Attributes:
        split, look, size, number: its name; `size` is the image's side in pixels.
        seed: of the background.
        kind: the lesion's texture, None where there is no lesion.
        cells: the lesion's blocks as (column, row) on the grid of blocks.
        spacing: millimetres per pixel where the scale is the case's own (`tool_questions`).
    """

    split: str
    look: str
    size: int
    number: int
    seed: int
    kind: str | None
    cells: tuple[tuple[int, int], ...]
    spacing: float | None = None

    @property
    def uri(self) -> str:
        """Names the pixels and says nothing about the gold."""
        name = f"phantom:{self.split}/{self.look}/{self.size}/{self.number}"
        return name if self.spacing is None else f"{name}/scaled"

    @property
    def block(self) -> int:
        """Side of a block in pixels."""
        return GRIDS[self.size].block

    @property
    def spacing_mm(self) -> float:
        """Millimetres per pixel, the same along rows and columns."""
        own = SETTINGS[self.look].block_mm / self.block
        return own if self.spacing is None else self.spacing

    @property
    def box_px(self) -> tuple[int, int, int, int]:
        """The lesion's box in original pixels, end exclusive."""
        columns, rows = [c for c, _ in self.cells], [r for _, r in self.cells]
        block = self.block
        return (
            min(columns) * block,
            min(rows) * block,
            (max(columns) + 1) * block,
            (max(rows) + 1) * block,
        )

    @property
    def length(self) -> int:
        """The longest side of the lesion's box in blocks."""
        x0, y0, x1, y1 = self.box_px
        return max(x1 - x0, y1 - y0) // self.block

    @property
    def length_mm(self) -> float:
        """The longest side of the lesion's box in millimetres."""
        block_mm = SETTINGS[self.look].block_mm
        return self.length * (block_mm if self.spacing is None else self.spacing * self.block)

    @property
    def stage(self) -> str:
        """The stage, which is only in the patient's records: no pixel depends on it."""
        return STAGES[seed_of("phantom stage", self.split, self.look, self.size, self.number) % 2]

    @property
    def side(self) -> str:
        """The half of the image in which the whole lesion lies."""
        return SIDES[0] if self.box_px[2] <= self.size // 2 else SIDES[1]

    def mask(self) -> Mask:
        """The lesion's pixels."""
        block, width = self.block, self.size
        _, y0, _, y1 = self.box_px
        runs: list[int] = []  # lengths of 0s and of 1s, alternating
        zeros = y0 * width
        for row in range(y0 // block, y1 // block):
            columns = sorted(c for c, r in self.cells if r == row)
            left, right = columns[0] * block, (columns[-1] + 1) * block
            for _ in range(block):
                runs += (zeros + left, right - left)
                zeros = width - right
        return Mask(width=width, height=width, counts=(*runs, zeros + (width - y1) * width))

    def draw(self) -> Pixels:
        """The pixels: (size, size) or (size, size, 3) uint8."""
        lesion = Lesion(self.kind, self.cells) if self.kind else None
        return draw(self.look, self.size, self.seed, self.split, lesion)

    def study(self) -> Study:
        """The image as an episode has it."""
        spacing = (self.spacing_mm, self.spacing_mm)
        modality = SETTINGS[self.look].modality
        return Study(self.draw(), spacing, modality, view_sizes=view_sizes(self.size))
