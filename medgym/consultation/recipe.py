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

Roles may have any names. Each says which roles it hears, and a role plays after those:

    [roles.second-reader]
    prompt = "You are a second reader. You check the opinions of specialists."
    policy = "hf:models/base"
    hears = ["specialist"]

    [roles.attending]
    hears = ["specialist", "second-reader"]

A recipe of `medgym train` has the same tables beside its others, which are not read here.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.consultation.opinions import SPECIALTIES
from medgym.consultation.role import ATTENDING, Role, role_of, table_of
from medgym.errors import UserError, unknown
from medgym.redaction import redact_text
from medgym.registry import load, names
from medgym.storage.run_folder import RunFolder
from medgym.toml import read_table, read_toml

_SPECIALTY = re.compile(r"\w+([ -]\w+)*")

FILE = "consultation.toml"
"""The file that describes the consultation in a run's folder."""


class ConsultationTable(BaseModel):
    """`[consultation]`: how it proceeds.

    Attributes:
        specialties: those that triage chooses from; MMedAgent-RL's seven by default.
        most: how many of them it may choose.
        opinions: asked of each chosen specialty.
        flow: `static`, or `dynamic`: the deciding role may refer to further specialists, by a tool.
        referrals: how often, in the dynamic flow.
        triage: false leaves out the role that chooses, and all specialties are asked (the fixed
            flow).
        reasons: whether a role reads what those that it hears thought, beside their answers.
        views: how many regions a role is shown, of those that the roles it hears looked at last.
        decides: the role whose answer is the consultation's.
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
    decides: str = ATTENDING


@dataclass(frozen=True)
class ConsultationRecipe:
    """A consultation, read.

    Attributes:
        roles: those that take part, in the order in which they play; the last one decides.
        specialties, most, opinions, flow, referrals, reasons, views: as in `ConsultationTable`.
    """

    roles: tuple[Role, ...]
    specialties: tuple[str, ...]
    most: int
    opinions: int
    flow: Literal["static", "dynamic"]
    referrals: int
    reasons: bool
    views: int

    def role(self, name: str) -> Role:
        """The role of a name that takes part."""
        return next(role for role in self.roles if role.name == name)

    @property
    def decider(self) -> Role:
        """The role whose answer is the consultation's."""
        return self.roles[-1]

    @property
    def chooser(self) -> Role | None:
        """The role that chooses specialties; None in the fixed flow."""
        return next((role for role in self.roles if role.chooses), None)

    @property
    def referred(self) -> Role:
        """The role that the deciding one may refer to in a dynamic flow."""
        heard = self.heard(self.decider)
        return next(role for role in heard if role.each == "specialty")

    @property
    def stages(self) -> tuple[tuple[Role, ...], ...]:
        """The roles stage by stage: those of one stage hear only roles of earlier ones."""
        return _stages({role.name: role for role in self.roles})

    def heard(self, role: Role) -> tuple[Role, ...]:
        """The roles whose opinions a role reads, in the order in which they play."""
        return tuple(each for each in self.roles if each.name in role.hears and not each.chooses)

    def count(self, role: Role) -> int:
        """The episodes that a role plays, of the case or of each specialty."""
        usual = self.opinions if role.each == "specialty" else 1
        return usual if role.opinions is None else role.opinions

    def deciding_by(self, policy: str) -> "ConsultationRecipe":
        """The same consultation with another policy in the deciding role, as the vote."""
        decider = replace(self.decider, policy=policy, adapter=None)
        return replace(self, roles=(*self.roles[:-1], decider))

    def without_triage(self) -> "ConsultationRecipe":
        """The fixed flow: every specialty is asked, as nearly as can be for as many opinions as
        the chosen ones would have been asked for."""

        def share(count: int) -> int:
            return max(1, count * self.most // len(self.specialties))

        return replace(
            self,
            opinions=share(self.opinions),
            roles=tuple(
                replace(role, opinions=share(role.opinions))
                if role.each == "specialty" and role.opinions is not None
                else role
                for role in self.roles
                if not role.chooses
            ),
        )

    def tables(self) -> dict[str, dict[str, object]]:
        """The recipe as its tables, without secrets in its policies; `recipe_of` reads them."""
        roles = {role.name: table_of(role) for role in self.roles}
        for role in roles.values():
            role["policy"] = role["policy"] and redact_text(str(role["policy"]))
        table: dict[str, object] = {k: v for k, v in vars(self).items() if k != "roles"}
        table["triage"] = self.chooser is not None
        if self.decider.name != ATTENDING:
            table["decides"] = self.decider.name
        return {"consultation": table, "roles": dict(roles)}


def consultation_of(
    recipe: "str | Path | Mapping[str, object] | ConsultationRecipe",
) -> ConsultationRecipe:
    """A consultation by a path or a registered name, by its tables, or as it is.

    Raises:
        UserError: as `read_recipe`.
    """
    if isinstance(recipe, ConsultationRecipe):
        return recipe
    if isinstance(recipe, Mapping):
        return recipe_of(recipe, "the given recipe", Path())
    return read_recipe(str(recipe))


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
                f"the training in {path.parent} is not finished, and writes {FILE} at its end; "
                "fix: resume it with --resume"
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


def recipe_of(
    data: Mapping[str, object], where: str, base: Path | None = None
) -> ConsultationRecipe:
    """A consultation from a recipe's tables; errors as in `read_recipe`."""
    if not isinstance(data.get("consultation"), Mapping):
        raise UserError(f"{where} has no table [consultation]; fix: write one")
    table = read_table(ConsultationTable, data["consultation"], where, "consultation")
    _check_specialties(table, where)
    tables = data.get("roles", {})
    if not isinstance(tables, Mapping):
        raise UserError(f"{where}: roles is no table; fix: write [roles.NAME] for each role")
    for name in data:  # other tables are those of a training
        near = difflib.get_close_matches(name, ("consultation", "roles"), n=1, cutoff=0.75)
        if name in names("roles"):
            near = [f"roles.{name}"]
        elif name in ConsultationTable.model_fields:
            near = [f"consultation.{name}"]
        if near and name not in ("consultation", "roles"):
            raise UserError(f"unknown key in {where}: {name!r}; did you mean {near[0]!r}?")
    roles = _taking_part(table, tables, where, base)
    recipe = ConsultationRecipe(
        roles=roles,
        specialties=table.specialties,
        most=table.most,
        opinions=table.opinions,
        flow=table.flow,
        referrals=table.referrals,
        reasons=table.reasons,
        views=table.views,
    )
    _check_flow(recipe, where)
    return recipe


def _check_specialties(table: ConsultationTable, where: str) -> None:
    for name in table.specialties:
        # It is written in lists and lines that are read again, and is part of a folder's name.
        if not _SPECIALTY.fullmatch(name):
            raise UserError(
                f"{where}: a specialty cannot be called {name!r}; fix: use letters, digits, "
                "spaces, - and _"
            )
    count = len(table.specialties)
    if not count or len(set(table.specialties)) < count:
        raise UserError(
            f"{where}: consultation.specialties must name one specialty or more, each once"
        )
    if table.triage and table.most > count:
        raise UserError(
            f"{where}: triage may choose {table.most} of {count} specialties; fix: lower "
            "consultation.most"
        )


def _taking_part(
    table: ConsultationTable, tables: Mapping[str, object], where: str, base: Path | None
) -> tuple[Role, ...]:
    """The role that decides and all that it hears, directly or not, in the order of playing."""
    known = dict.fromkeys((*tables, *names("roles")))
    if table.decides not in known:
        raise unknown(f"role in {where}: consultation.decides:", table.decides, known)
    found: dict[str, Role] = {}
    waiting = [table.decides]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found[name] = role_of(name, tables.get(name, {}), where, base)
        for heard in found[name].hears:
            if heard not in known:
                raise unknown(f"role in {where}: roles.{name}.hears:", heard, known)
        waiting += found[name].hears
    for name in tables:
        if name not in found:
            hint = difflib.get_close_matches(name, found, n=1)
            fix = "fix: let a role that takes part hear it, or name who decides in [consultation]"
            did = f"did you mean {hint[0]!r}?" if hint else fix
            raise UserError(
                f"unknown role in {where}: {name!r}, which no role that takes part hears; {did}"
            )
    if not table.triage:
        found = {name: role for name, role in found.items() if not role.chooses}
    order = _stages(found)
    if not order:
        raise UserError(
            f"{where}: roles hear each other in a circle ({', '.join(found)}); fix: change the "
            "hears of one"
        )
    return tuple(role for stage in order for role in stage)


def _stages(roles: Mapping[str, Role]) -> tuple[tuple[Role, ...], ...]:
    """The roles by when they can play; empty where some hear each other in a circle."""
    stages: list[tuple[Role, ...]] = []
    played: set[str] = set()
    while len(played) < len(roles):
        stage = tuple(
            role
            for role in roles.values()
            if role.name not in played and played.issuperset({*role.hears} & roles.keys())
        )
        if not stage:
            return ()
        stages.append(stage)
        played |= {role.name for role in stage}
    return tuple(stages)


def _check_flow(recipe: ConsultationRecipe, where: str) -> None:
    """Refuse what the flow cannot play."""
    choosers = [role for role in recipe.roles if role.chooses]
    decider = recipe.decider
    if decider.chooses or decider.each == "specialty":
        raise UserError(
            f"{where}: [roles.{decider.name}] decides; fix: let it answer the case's question, "
            "once for the case"
        )
    for role in recipe.roles:
        place = f"{where}: [roles.{role.name}]"
        if role.chooses and (len(choosers) > 1 or role.hears or role.each == "specialty"):
            raise UserError(
                f"{place} chooses specialties; fix: let one role do that, once for the case, and "
                "hear no other"
            )
        if role.each == "case" and any(other.name in role.hears for other in choosers):
            raise UserError(
                f"{place} hears a role that chooses specialties; fix: hear it only with "
                'each = "specialty"'
            )
        if (role.chooses or role is recipe.decider) and recipe.count(role) > 1:
            raise UserError(f"{place} plays once for a case; fix: remove opinions")
    heard = [role for role in recipe.heard(decider) if role.each == "specialty"]
    if recipe.flow == "dynamic" and len(heard) != 1:
        raise UserError(
            f"{where}: in a dynamic flow [roles.{decider.name}] refers to the one role that it "
            f'hears with each = "specialty", and it hears {len(heard)} such roles; fix: change its '
            "hears"
        )
