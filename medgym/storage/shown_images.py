"""Whether a run still holds the images that its episodes showed: a listing, and one column."""

from pathlib import Path

from medgym.errors import UserError
from medgym.storage.parts import Part
from medgym.storage.trajectories import ImageStore

STORES = ("trajectories", "judged")
"""Where a run's episodes are; those of a suite's benchmarks are in `judged/`."""

UNKEPT = "judge"
"""How stores in `trajectories/` begin whose images a run does not keep: evaluations in training."""


def lost_images(run: Path) -> list[str]:
    """The hashes of images that a run's own episodes showed and that are not there.

    What lies in the run's folder as a run of its own, such as the groups of which pairs were made,
    has its own images.

    Raises:
        UserError: a part is damaged.
    """
    shown: dict[Path, set[str]] = {}
    for store in STORES:
        for path in sorted((run / store).rglob("part-*.parquet")):
            if not path.parent.name.startswith(UNKEPT) or store != "trajectories":
                shown.setdefault(_home(path, run), set()).update(Part(path).images())
    lost = (
        hashes - ImageStore(home / "images").names() for home, hashes in shown.items() if hashes
    )
    return sorted(set().union(*lost))


def _home(part: Path, run: Path) -> Path:
    """The folder of the innermost run that a part belongs to."""
    inside = part.parents[: len(part.relative_to(run).parts)]
    return next((each for each in inside if (each / "manifest.json").is_file()), run)


def require_images(run: Path) -> None:
    """Refuse to resume a run whose episodes showed images that it does not have any more."""
    lost = lost_images(run)
    if lost:
        raise UserError(
            f"{run} has lost {len(lost)} of the images that its episodes showed, such as "
            f"{lost[0][:12]}…; fix: restore its images/, or medgym check run {run} --repair"
        )
