"""What a consultation is made of, as TOML: `[consultation]` and a table for each role.

    [consultation]
    specialties = ["radiologist", "pathologist"]
    opinions = 3

    [roles.triage]
    policy = "hf:models/base"
    adapter = "adapters/triage/50"

    [roles.specialist]
    policy = "scripted:specialist,specialty={specialty},accuracy=0.7"

    [roles.attending]
    policy = "hf:models/base"
    adapter = "adapters/attending/95"
    tools = ["zoom"]

A recipe of `medgym train` has the same tables beside its others, which are not read here.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.consultation.opinions import ATTENDING, SPECIALIST, SPECIALTIES, TRIAGE
from medgym.errors import UserError, unknown
from medgym.registry import load, names
from medgym.storage.run_folder import RunFolder
from medgym.toml import read_table, read_toml

from .roles import Role, role_of

_SPECIALTY = re.compile(r"\w+([ -]\w+)*")

FILE = "consultation.toml"
"""What a folder is to hold that is named as a consultation."""


class ConsultationTable(BaseModel):
    """`[consultation]`: how it goes.

    Attributes:
        specialties: whom triage chooses among; MMedAgent-RL's seven by default.
        most: how many of them it may choose.
        opinions: asked of each chosen specialty.
        flow: `static`, or `dynamic`: the attending may refer to further specialists, by a tool.
        referrals: how often, in the dynamic flow.
        triage: false asks every specialty (the fixed flow).
        reasons: whether the attending reads what a specialist thought, beside its answer.
        views: how many regions the attending is shown, of those that the specialists looked at
            last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    specialties: tuple[str, ...] = SPECIALTIES
    most: int = Field(default=1, ge=1)
    opinions: int = Field(default=3, ge=1)
    flow: Literal["static", "dynamic"] = "static"
    referrals: int = Field(default=2, ge=1)
    triage: bool = True
    reasons: bool = True
    views: int = Field(default=4, ge=0)


@dataclass(frozen=True)
class ConsultationRecipe:
    """A consultation, read: its roles (`triage` None in the fixed flow) and how it goes."""

    triage: Role | None
    specialist: Role
    attending: Role
    specialties: tuple[str, ...]
    most: int
    opinions: int
    flow: Literal["static", "dynamic"]
    referrals: int
    reasons: bool
    views: int


def read_recipe(name: str) -> ConsultationRecipe:
    """The consultation that a path, a folder or a registered recipe describes.

    Raises:
        UserError: none is there, it is not TOML, has an unknown key or no table `[consultation]`.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / FILE
    elif path.suffix != ".toml" and name in names("recipes"):
        path = Path(load("recipes", name))
    if not path.is_file():
        if path.name == FILE and _is_trained(path.parent):
            raise UserError(
                f"the training in {path.parent} is not at its end, where it writes {FILE}; fix: "
                "go on with it by --resume"
            )
        raise UserError(
            f"no consultation is described in {path}; fix: name a TOML file with [consultation], "
            "or the folder of a run that trained one"
        )
    return recipe_of(read_toml(path)[0], str(path), path.parent)


def _is_trained(folder: Path) -> bool:
    """Whether a run's folder is that of a consultation's training."""
    if not (folder / "manifest.json").is_file():
        return False
    recipe = RunFolder.open(folder).manifest.get("recipe")
    return isinstance(recipe, Mapping) and bool(recipe.get("consultation"))


def recipe_of(data: Mapping[str, Any], where: str, base: Path | None = None) -> ConsultationRecipe:
    """A consultation from a recipe's tables; errors as in `read_recipe`."""
    if not isinstance(data.get("consultation"), Mapping):
        raise UserError(f"{where} has no table [consultation]; fix: write one")
    table = read_table(ConsultationTable, data["consultation"], where, "consultation")
    for name in table.specialties:
        # It is written in lists and lines that are read again, and is part of a folder's name.
        if not _SPECIALTY.fullmatch(name):
            raise UserError(
                f"{where}: no specialty is called {name!r}; fix: letters, digits, spaces, - and _"
            )
    count = len(table.specialties)
    if not count or len(set(table.specialties)) < count:
        raise UserError(
            f"{where}: consultation.specialties is to name one specialty or more, each once"
        )
    if table.triage and table.most > count:
        raise UserError(
            f"{where}: triage may choose {table.most} of {count} specialties; fix: lower "
            "consultation.most"
        )
    for name in data:  # other tables are those of a training
        near = difflib.get_close_matches(name, ("consultation", "roles"), n=1, cutoff=0.75)
        if name in (TRIAGE, SPECIALIST, ATTENDING):
            near = [f"roles.{name}"]
        elif name in ConsultationTable.model_fields:
            near = [f"consultation.{name}"]
        if near and name not in ("consultation", "roles"):
            raise UserError(f"unknown key in {where}: {name!r}; did you mean {near[0]!r}?")
    tables = data.get("roles", {})
    for role in tables:
        if role not in (TRIAGE, SPECIALIST, ATTENDING):
            raise unknown(f"role in {where}:", role, (TRIAGE, SPECIALIST, ATTENDING))
    triage, specialist, attending = (
        role_of(role, tables.get(role, {}), where, base) for role in (TRIAGE, SPECIALIST, ATTENDING)
    )
    return ConsultationRecipe(
        triage=triage if table.triage else None,
        specialist=specialist,
        attending=attending,
        specialties=table.specialties,
        most=table.most,
        opinions=table.opinions,
        flow=table.flow,
        referrals=table.referrals,
        reasons=table.reasons,
        views=table.views,
    )
