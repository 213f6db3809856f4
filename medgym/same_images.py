"""Whether the images of a case are still those that an episode of it began with.

A case names its images and does not hold them: another file may lie at the same place. What an
episode showed is known by the hash of its pixels.
"""

from datetime import datetime
from pathlib import Path

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.opened import UnreadableImage
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory
from medgym.uris import file_path


def images_at_start(trajectory: Trajectory) -> dict[int, str]:
    """The hash of each view that an episode began with, by the view's number; view n is the whole
    of the case's image n, as far as it has so many.

    Empty for an episode that failed, and for a consultation, whose roles see the images at sizes
    of their own.
    """
    if not trajectory.nodes or trajectory.branches:
        return {}
    return {use.view: use.sha256 for use in trajectory.nodes[0].images}


class UnchangedImages:
    """Holds that a run which is resumed sees what it has seen.

    Only cases of which a file was changed after the run began are opened again: what other sources
    draw or keep does not change.
    """

    def __init__(self, run: RunFolder, rules: Rules) -> None:
        self._rules = rules
        self._newer: dict[str, bool] = {}  # of folders of files, of which many cases may be
        try:
            self._began = datetime.fromisoformat(str(run.manifest.get("started"))).timestamp()
        except ValueError:
            self._began = 0.0

    def may_differ(self, case: Case) -> bool:
        """Whether a file of a case was changed after the run began."""
        return any(self._is_newer(ref.uri) for ref in case.images)

    def require(self, case: Case, seen: dict[int, str]) -> None:
        """Hold it for a case of which the run has an episode, and which may differ.

        A case that cannot be read any more is left to the episode that plays it.

        Args:
            seen: of `images_at_start`.

        Raises:
            UserError: another image is now where the case had its own.
        """
        try:
            now = {p.view: p.sha256 for p in self._rules.begin(case).messages[-1].images}
        except UnreadableImage:
            return
        if now != seen:
            raise UserError(
                f"the images of the case {case.id!r} have changed since the run played it; fix: "
                "put them back as they were, or play the cases as they are now into a new folder"
            )

    def _is_newer(self, uri: str) -> bool:
        path = file_path(uri)
        if path is None or not path.is_dir():
            return path is not None and _changed(path) >= self._began
        if uri not in self._newer:
            files = path, *path.rglob("*")
            self._newer[uri] = any(_changed(each) >= self._began for each in files)
        return self._newer[uri]


def _changed(file: Path) -> float:
    """When a file was written, or put where it is."""
    try:
        found = file.stat()
    except OSError:  # it is gone
        return float("inf")
    return max(found.st_mtime, found.st_ctime)
