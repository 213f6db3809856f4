"""`pairs.jsonl`: which stored episodes are preferred to which, one line for each pair.

A line has the `case`, its `source`, `split` and `group`. Of the pair it has the `builder`, `why`,
`score`, `margin` and `shared`. For `chosen` and `rejected` it says where the episode lies (`part`,
`row`) and where it comes from: `run`, `seed`, `member` and `version`. `run` is null for an episode
that a builder made.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.json_files import read_lines
from medgym.storage.parts import Part
from medgym.storage.trajectories import trajectories_of
from medgym.trajectory import Trajectory

PAIRS, CASES = "pairs.jsonl", "cases.jsonl"
"""The files of pairs and of their cases in a folder of pairs."""

SIDES = ("chosen", "rejected")

AGAIN = "fix: build the pairs again, into a new folder"

Row = Mapping[str, Any]


def read_pair_rows(folder: Path) -> Sequence[Row]:
    """The lines of a folder's `pairs.jsonl`.

    Raises:
        UserError: it cannot be read.
    """
    return read_lines(folder / PAIRS)


def is_pair_folder(folder: Path) -> bool:
    """Whether a folder holds pairs."""
    return (folder / PAIRS).is_file()


def episodes_reader(folder: Path) -> Callable[[Row], tuple[Trajectory, Trajectory]]:
    """Gives the two episodes of a line, the chosen one first.

    One part is held at a time, so lines are best read in their order.
    """
    held: dict[int, list[Trajectory]] = {}

    def episode(side: Row) -> Trajectory:
        number, row = int(side["part"]), int(side["row"])
        if number not in held:
            path = folder / "trajectories" / f"part-{number:05d}.parquet"
            read = list(trajectories_of(Part(path)))
            held.clear()
            held[number] = read
        return held[number][row]

    def both(row: Row) -> tuple[Trajectory, Trajectory]:
        try:
            return episode(row["chosen"]), episode(row["rejected"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"a line of {folder / PAIRS} names no pair of this folder; {AGAIN}"
            ) from error

    return both
