"""Trajectories as plain dictionaries: what a row of a part and a content hash are made of."""

from dataclasses import fields
from typing import Any

from medgym.trajectory import Look

_DEFAULTS = {
    each.name: each.default
    for each in fields(Look)
    if each.name in ("plane", "index", "slab", "window")
}
"""What a look has that is of a study of one image. Records leave it out, as those of before there
were studies of many do."""


def plain(value: Any) -> Any:
    """What `dataclasses.asdict` gives for a trajectory, without copying what is plain already.

    Long tuples of numbers stay the tuples that they are: copying each number takes most of the time
    in which a trajectory is written.
    """
    if isinstance(value, Look):
        named = vars(value).items()
        return {k: plain(v) for k, v in named if k not in _DEFAULTS or v != _DEFAULTS[k]}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(each) for name, each in vars(value).items()}
    if isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
        return [plain(each) for each in value]
    return value
