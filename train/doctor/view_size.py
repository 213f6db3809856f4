"""Whether views reach the model as they were drawn, or are resampled by its image processor."""

from collections import Counter
from collections.abc import Mapping

from medgym.view_sizes import Size, arrives, view_multiple_for, view_size_for

from .checks import Check
from .subject import Subject, played_sizes

MOST = 64
"""Different sizes of views that are tried."""


def view_size(subject: Subject) -> Check:
    """The size of views before and after the image processor.

    A side that is rounded to the nearest multiple of the processor's factor is resampled too,
    unless `view_multiple` is that factor: then views are drawn so.
    """
    side = subject.rules.view_size
    seen = Counter(played_sizes(subject.shown))
    tried = dict(seen.most_common(MOST))
    processor = subject.processor
    after = {size: arrives(processor, size) for size in {(side, side), *tried}}
    whole = after[side, side]
    if whole is None:
        return Check("view size", "pass", {"before": side, "after": "not said"})
    factor = view_multiple_for(processor)
    resized = {size: made for size, made in after.items() if made not in (None, size)}
    figure: dict[str, int | str] = {
        "before": _named((side, side)),
        "after": _named(whole),
        "views": sum(tried.values()),
        "resized": sum(tried.get(size, 0) for size in resized),
        "factor": factor,
    }
    if whole != (side, side):
        best = view_size_for(processor, side)
        fix = (
            f"set view_size {best} ([rollout] view_size, --view-size), so that views are not "
            "resampled a second time; where the cases forbid it, choose cases of larger images"
        )
        return Check("view size", "warn", figure, fix)
    far = _far(resized, factor)
    if far is not None:
        before, made = far
        figure["worst"] = f"{_named(before)} to {_named(made)}"
        fix = (
            "nothing, if it is rare: an image that is smaller than the model's least is enlarged; "
            "lower the least pixels of the model's image processor if most of them are"
        )
        return Check("view size", "warn", figure, fix)
    if figure["resized"]:
        fix = (
            f"set view_multiple {factor} ([rollout] view_multiple, --view-multiple), so that views "
            "that are not square are drawn with sides that the image processor keeps"
        )
        return Check("view size", "warn", figure, fix)
    return Check("view size", "pass", figure)


def _far(resized: Mapping[Size, Size | None], factor: int) -> tuple[Size, Size] | None:
    """The view whose sides change the most, where that is more than rounding does."""
    changes = [
        (max(abs(a - b) for a, b in zip(before, made, strict=True)), before, made)
        for before, made in resized.items()
        if made is not None
    ]
    most, before, made = max(changes, default=(0, (0, 0), (0, 0)))
    return (before, made) if most > factor / 2 else None


def _named(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
