"""The report of a scrub: what became of each file, by its own name, and what was taken out."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgym.privacy.cleaned import Cleaned
from medgym.privacy.profile import TABLE


@dataclass(frozen=True)
class ScrubbedFile:
    """A file that was found.

    Attributes:
        source: its path within the folder. kind: DICOM, PNG, ...; empty where it is no image.
        out: its path within the new folder; None where it was not written.
        reason: why it was not written.
        cleaned: what was taken out.
    """

    source: str
    kind: str
    out: str | None = None
    reason: str = ""
    cleaned: Cleaned = field(default_factory=Cleaned)

    @property
    def refused(self) -> bool:
        """Whether it is an image that was not written."""
        return self.out is None and bool(self.kind)


@dataclass
class ScrubReport:
    """What a scrub did.

    Attributes:
        folder, out: where from and where to.
        masked: whether burnt-in text was looked for.
        files: in the order of their names.
    """

    folder: Path
    out: Path
    masked: bool
    files: list[ScrubbedFile] = field(default_factory=list)

    @property
    def written(self) -> list[ScrubbedFile]:
        """The files that were written."""
        return [each for each in self.files if each.out is not None]

    @property
    def refused(self) -> list[ScrubbedFile]:
        """The images that were not."""
        return [each for each in self.files if each.refused]

    @property
    def left_out(self) -> list[ScrubbedFile]:
        """The files that are no images."""
        return [each for each in self.files if not each.kind]

    @property
    def boxes(self) -> int:
        """How many boxes were masked."""
        return sum(len(each.cleaned.boxes or ()) for each in self.files)

    def changes(self) -> dict[str, dict[str, int]]:
        """For each element or kind of metadata: what was done, in how many places."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for each in self.written:
            for (name, what), count in each.cleaned.changes.items():
                found[name][what] += count
        return {name: dict(found[name]) for name in sorted(found)}

    def totals(self) -> dict[str, int]:
        """How often each thing was done."""
        total: Counter[str] = Counter()
        for each in self.written:
            for (_, what), count in each.cleaned.changes.items():
                total[what] += count
        return dict(sorted(total.items()))

    def unseen(self) -> tuple[int, int]:
        """Files in which nobody looked for burnt-in text, and those of them that may hold some."""
        files = [each for each in self.written if each.cleaned.boxes is None]
        return len(files), sum(bool(each.cleaned.drawn) for each in files)

    def as_dict(self) -> dict[str, Any]:
        """As JSON. It names the originals, and no value of theirs."""
        unseen, drawn = self.unseen()
        return {
            "profile": f"DICOM PS3.15 {TABLE}, Basic Application Level Confidentiality Profile",
            "folder": str(self.folder),
            "out": str(self.out),
            "counts": {
                "files": len(self.files),
                "written": len(self.written),
                "refused": len(self.refused),
                "left out": len(self.left_out),
            },
            "burnt-in text": {
                "looked for": self.masked,
                "boxes masked": self.boxes,
                "files not looked at": unseen,
                "of which may hold some": drawn,
            },
            "totals": self.totals(),
            "elements": self.changes(),
            "files": [_plain(each) for each in self.files],
        }


def _plain(file: ScrubbedFile) -> dict[str, Any]:
    if file.out is None:
        return {"from": file.source, "kind": file.kind or None, "reason": file.reason}
    totals: Counter[str] = Counter()
    for (_, what), count in file.cleaned.changes.items():
        totals[what] += count
    boxes = file.cleaned.boxes
    return {
        "from": file.source,
        "to": file.out,
        "kind": file.kind,
        "done": dict(sorted(totals.items())),
        "boxes masked": None if boxes is None else [list(box) for box in boxes],
        **({"may hold burnt-in text": file.cleaned.drawn} if file.cleaned.drawn else {}),
        **({"notes": file.cleaned.notes} if file.cleaned.notes else {}),
    }
