"""Tables of a recipe whose keys are those of a library's own configuration class.

Each algorithm declares its own (`train/sft/settings.py`, `train/grpo/settings.py`). Every key of a
class is in exactly one of three: passed on, set by medgym, or refused for a reason. A key that does
nothing is a fault that nobody hears of, so none is passed on without a test of what it does.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple, get_args, get_type_hints

from medgym.errors import UserError, unknown

COUNTS = frozenset(
    (
        "per_device_train_batch_size", "gradient_accumulation_steps", "num_generations",
        "generation_batch_size", "steps_per_generation", "num_iterations",
    )
)  # fmt: skip
"""Keys that are whole numbers of 1 or more; the libraries would divide by 0, or train nothing."""

NOT_NEGATIVE = frozenset(
    ("learning_rate", "weight_decay", "max_grad_norm", "beta", "epsilon", "epsilon_high")
)
"""Keys that are numbers of 0 or more; the libraries would take less, or refuse it hours later."""

Keys = dict[str, Any]
"""Keys of a library's configuration class, with values of whatever types it takes."""


class Only(NamedTuple):
    """The values that a key may have, and why no others."""

    values: tuple[object, ...]
    reason: str


class Own(NamedTuple):
    """What a key of medgym's own does, and what its value is: in words, and as a check of it."""

    what: str
    value: str
    fits: Callable[[object], bool]


class Needs(NamedTuple):
    """What other keys have to be for a key to do anything: in words, and as a check of them."""

    what: str
    met: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Settings:
    """One such table.

    Attributes:
        table: its name in the recipe.
        config: the class that takes its keys, as `package.Class`; imported when a key is checked.
        passed: keys that go to the class as they are.
        ours: keys that medgym sets, and from what: a key of the recipe, where it begins with `[`.
        refused: keys that a recipe may not have, and why.
        only: keys that are passed on with some values alone.
        needs: keys that do nothing unless others are set.
        own: keys of medgym's own, which the class does not have and is not given.
    """

    table: str
    config: str
    passed: frozenset[str]
    ours: Mapping[str, str]
    refused: Mapping[str, str]
    only: Mapping[str, Only] = field(default_factory=dict)
    needs: Mapping[str, Needs] = field(default_factory=dict)
    own: Mapping[str, Own] = field(default_factory=dict)

    def of_class(self, keys: Mapping[str, Any]) -> Keys:
        """The keys of a table that its class is given."""
        return {key: value for key, value in keys.items() if key not in self.own}

    def check(
        self,
        keys: Mapping[str, object],
        where: str,
        table: str = "",
        beside: Mapping[str, object] | None = None,
    ) -> None:
        """Check the keys of a table, and their values as far as they can be wrong unnoticed.

        Args:
            where: the recipe's file. table: the table's name, where it is not the usual one.
            beside: other keys that hold, under their full names; these are laid over them.

        Raises:
            UserError: a key that is unknown, set by medgym, refused, or that would do nothing; a
                value that is refused; a text where a number belongs.
        """
        if not keys:
            return
        table = table or self.table
        numbers = self._plain()
        for key, value in keys.items():
            name = f"{where}: {table}.{key}"
            if key in self.own:
                if not self.own[key].fits(value):
                    what = self.own[key].value
                    raise UserError(f"{name} = {toml(value)} is refused; fix: write {what}")
                continue
            if key in self.ours:
                place = self.ours[key]
                fix = "set it there" if place.startswith("[") else "remove it"
                raise UserError(f"{name} is set from {place}; fix: {fix}")
            if key in self.refused:
                raise UserError(f"{name} is refused: {self.refused[key]}; fix: remove it")
            if key not in numbers:
                known = [f"{table}.{n}" for n in numbers if n in self.passed]
                known += [f"{table}.{n}" for n in self.own]
                raise unknown(f"key in {where}:", f"{table}.{key}", known)
            if key not in self.passed:
                raise UserError(
                    f"{name} is a key of this version of {self.config} that medgym does not know "
                    "yet; fix: remove it"
                )
            _check_type(name, numbers[key], value)
            self._check_value(name, key, value)
        whole = {**(beside or {}), **keys}
        for key in keys:
            if key in self.needs and not self.needs[key].met(whole):
                raise UserError(
                    f"{where}: {table}.{key} does nothing without {self.needs[key].what}; fix: add "
                    "that, or remove it"
                )

    def _check_value(self, name: str, key: str, value: object) -> None:
        if isinstance(value, int | float):
            if not math.isfinite(value):
                raise UserError(f"{name}: {value} is no finite number; fix: write one")
            least = 1 if key in COUNTS else 0 if key in NOT_NEGATIVE else value
            if value < least:
                raise UserError(f"{name}: {value}; fix: a number of {least} or more")
            if key == "save_steps" and value <= 0:
                raise UserError(f"{name}: {value}; fix: a number above 0")
        only = self.only.get(key)
        if only is None or any(value == v and type(value) is type(v) for v in only.values):
            return
        shown = " or ".join(map(toml, only.values))
        raise UserError(f"{name} = {toml(value)} is refused: {only.reason}; fix: use {shown}")

    def _plain(self) -> dict[str, set[type]]:
        """The fields of the class; of one that takes only numbers or only a bool, which of them."""
        package, _, name = self.config.rpartition(".")
        config = getattr(import_module(package), name)
        hints = get_type_hints(config)
        found: dict[str, set[type]] = {}
        for each in dataclasses.fields(config):
            types = set(get_args(hints[each.name]) or (hints[each.name],)) - {type(None)}
            found[each.name] = types if types <= {int, float} or types == {bool} else set()
        return found


def _check_type(name: str, types: set[type], value: object) -> None:
    """Make sure that a key which takes only numbers, or only true and false, has one."""
    if not types or type(value) in types or (type(value) is int and bool not in types):
        return
    if bool in types:
        raise UserError(f"{name}: {value!r} is neither true nor false; fix: write one of them")
    wanted = "number" if float in types else "whole number"
    raise UserError(f"{name}: {value!r} is no {wanted}; fix: write one")


def toml(value: object) -> str:
    """A simple value as a recipe has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
