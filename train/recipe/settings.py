"""Tables of a recipe whose keys are those of a library's own configuration class.

Each algorithm declares its own (`train/sft/settings.py`, `train/grpo/settings.py`); the recipe
checks every key against the class, so that a typo is an error which names the nearest key.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_args, get_type_hints

from medgym.errors import UserError, unknown

Keys = dict[str, Any]
"""Keys of a library's configuration class, with values of whatever types it takes."""


@dataclass(frozen=True)
class Settings:
    """One such table.

    Attributes:
        table: its name in the recipe.
        config: the class that takes its keys, as `package.Class`; imported when a key is checked.
        ours: keys that a recipe may not set, and what sets them.
    """

    table: str
    config: str
    ours: Mapping[str, str]

    def check(self, keys: Mapping[str, object], where: str, table: str = "") -> None:
        """Check the keys and the numbers of a table.

        Args:
            where: the recipe's file. table: the table's name, where it is not the usual one.

        Raises:
            UserError: an unknown key, one that medgym sets, or a text where a number belongs.
        """
        if not keys:
            return
        table = table or self.table
        numbers = self._numbers()
        known = numbers.keys() - self.ours.keys()
        for key, value in keys.items():
            if key in self.ours:
                raise UserError(
                    f"{where}: {table}.{key} is set from {self.ours[key]}; fix: remove it there"
                )
            if key not in known:
                raise unknown(f"key in {where}:", f"{table}.{key}", [f"{table}.{n}" for n in known])
            if numbers[key] and type(value) not in numbers[key] | {int}:
                wanted = "number" if float in numbers[key] else "whole number"
                raise UserError(f"{where}: {table}.{key}: {value!r} is no {wanted}; fix: write one")

    def _numbers(self) -> dict[str, set[type]]:
        """The fields of the class; of one that takes only numbers, which: int, float."""
        package, _, name = self.config.rpartition(".")
        config = getattr(import_module(package), name)
        hints = get_type_hints(config)
        found: dict[str, set[type]] = {}
        for each in dataclasses.fields(config):
            types = set(get_args(hints[each.name]) or (hints[each.name],)) - {type(None)}
            found[each.name] = types if types <= {int, float} else set()
        return found


LORA = Settings(table="lora", config="peft.LoraConfig", ours={})
