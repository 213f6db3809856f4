"""Trajectories as plain dictionaries: what a row of a part and a content hash are made of."""

from typing import Any


def plain(value: Any) -> Any:
    """What `dataclasses.asdict` gives for a trajectory, without copying what is plain already.

    Long tuples of numbers stay the tuples that they are: copying each number takes most of the time
    in which a trajectory is written.
    """
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(each) for name, each in vars(value).items()}
    if isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
        return [plain(each) for each in value]
    return value
