"""Roles: who takes part in a consultation, what it is asked, and whom it hears.

A role is registered in the entry-point group `medgym.roles` as a function that returns its
defaults; a recipe's table `[roles.NAME]` changes them. Shipped are `triage`, `specialist` (with one
prompt for each specialty) and `attending`. `role = "NAME"` in a table takes the defaults of another
registered role; a name that is not registered is a role of the recipe's own.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import calling
from medgym.permissions import by_recipe
from medgym.policy import Sampling
from medgym.registry import load, names
from medgym.rubric import load_rubric
from medgym.spec import fill_spec
from medgym.toml import read_table
from medgym.tool import load_tools

TRIAGE, SPECIALIST, ATTENDING = "triage", "specialist", "attending"
"""The three shipped roles, by the names under which trajectories and adapters are kept."""

SINGLE = "single"
"""The baseline of a training: a policy without colleagues, kept beside the roles."""

FLOW = ("asks", "each", "hears", "opinions")
"""The fields of a role that say how it takes part."""

_NAME = re.compile(r"[a-zA-Z]\w*(-\w+)*", re.ASCII)


@dataclass(frozen=True)
class Role:
    """One role of a consultation.

    Attributes:
        name: `triage`, `specialist`, ...; adapters and branches are kept under it.
        prompt: the system prompt; `{specialty}` stands for a specialist's own.
        policy: the spec of the policy that plays it, `{specialty}` as well; None where a recipe
            must name one. In a recipe `{here}` stands for the recipe's folder, as in the base of a
            trained run.
        adapter: the folder of a LoRA adapter on that policy's base; `{specialty}` as well.
        tools: registered tools that it may use; None for those of the rollout.
        rubric: registered rubric that scores it; None for that of the rollout.
        max_turns: replies that it has; None for those of the rollout.
        temperature, max_tokens: how its replies are sampled; None for those of the rollout.
        trainable: whether training changes it.
        asks: what it is asked: the case's `question`, or for the `specialty` that should see it.
        each: whether it plays once for the `case`, or once for each `specialty`.
        hears: the roles whose opinions it reads. A role with `each = "specialty"` that hears the
            role which chooses specialties plays for the chosen ones, else for all of them.
        opinions: episodes that it plays, of the case or of each specialty; None for one, and with
            `each = "specialty"` for `[consultation] opinions`.
    """

    name: str
    prompt: str = ""
    policy: str | None = None
    adapter: str | None = None
    tools: tuple[str, ...] | None = None
    rubric: str | None = None
    max_turns: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    trainable: bool = False
    asks: Literal["question", "specialty"] = "question"
    each: Literal["case", "specialty"] = "case"
    hears: tuple[str, ...] = ()
    opinions: int | None = None

    @property
    def chooses(self) -> bool:
        """Whether its answer is a choice of specialties."""
        return self.asks == "specialty"

    def spec(self, specialty: str = "") -> str:
        """The spec of its policy, without the adapter.

        Raises:
            UserError: the recipe names no policy for it.
        """
        if self.policy is None:
            raise UserError(
                f"no policy plays the {self.name}; fix: write policy = ... under "
                f"[roles.{self.name}]"
            )
        return fill_spec(self.policy, specialty=specialty)

    def folder(self, specialty: str = "") -> str | None:
        """The folder of its adapter, in whose name a specialty has no spaces."""
        return self.adapter and self.adapter.replace("{specialty}", specialty.replace(" ", "-"))

    def rules(self, given: Rules, specialty: str = "") -> Rules:
        """Its rules where a rollout's are `given`; view size and coordinates are the same."""
        with by_recipe():  # a tool may be another machine's
            tools = given.tools if self.tools is None else load_tools(self.tools)
        return replace(
            given,
            prompt=self.prompt.replace("{specialty}", specialty),
            tools=tools,
            rubric=given.rubric if self.rubric is None else load_rubric(self.rubric),
            max_turns=given.max_turns if self.max_turns is None else self.max_turns,
        )

    def sampling(self, given: Sampling | None) -> Sampling:
        """How its replies are sampled where a rollout's are sampled as `given`."""
        base = given or Sampling()
        return replace(
            base,
            temperature=base.temperature if self.temperature is None else self.temperature,
            max_tokens=base.max_tokens if self.max_tokens is None else self.max_tokens,
        )


class RoleTable(BaseModel):
    """`[roles.NAME]` of a recipe: what differs from the role's defaults; see `Role`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str | None = None
    prompt: str | None = None
    policy: str | None = None
    adapter: str | None = None
    tools: tuple[str, ...] | None = None
    rubric: str | None = None
    max_turns: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    trainable: bool | None = None
    asks: Literal["question", "specialty"] | None = None
    each: Literal["case", "specialty"] | None = None
    hears: tuple[str, ...] | None = None
    opinions: int | None = Field(default=None, ge=1)


def load_role(name: str) -> Role:
    """The defaults of a registered role.

    Raises:
        UserError: no such role (the nearest is named), or what is registered makes no `Role`.
    """
    with calling(f"the role {name!r}"):
        made: object = load("roles", name)()
    if not isinstance(made, Role):
        raise UserError(
            f"the role {name!r} makes no Role but a {type(made).__name__}; fix: let what is "
            "registered return a Role"
        )
    return made


def default_role(name: str) -> Role:
    """What a role is before a recipe changes it: as registered, else without any prompt."""
    return replace(load_role(name), name=name) if name in names("roles") else Role(name)


def role_of(name: str, table: object, where: str, base: Path | None = None) -> Role:
    """A role from its recipe's table; relative adapters lie beside the recipe, in `base`.

    Raises:
        UserError: an unknown key or role (the nearest is named), a wrong value.
    """
    given = read_table(RoleTable, table, where, f"roles.{name}")
    if not _NAME.fullmatch(name):  # it is part of a folder's name, and of lines that are read again
        raise UserError(
            f"{where}: a role cannot be called {name!r}; fix: use letters, digits, - and _"
        )
    made = usual = default_role(name)
    if given.role is not None:  # it takes part as the role whose place it takes, unless it says how
        made, bare = load_role(given.role), Role(name)
        unsaid = [key for key in FLOW if getattr(made, key) == getattr(bare, key)]
        made = replace(made, **{key: getattr(usual, key) for key in unsaid})
    changes = given.model_dump(exclude_none=True, exclude={"role"})
    if base is not None and given.adapter and not Path(given.adapter).expanduser().is_absolute():
        changes["adapter"] = str(base.resolve() / given.adapter)
    if base is not None and given.policy:
        changes["policy"] = fill_spec(given.policy, here=base.resolve())
    return replace(made, name=name, **changes)


def table_of(role: Role) -> dict[str, object]:
    """A role as `[roles.NAME]` of a recipe, which `role_of` reads as the same role.

    How it takes part is left out where that is the usual for its name.
    """
    table, usual = vars(role), vars(default_role(role.name))
    return {
        key: value
        for key, value in table.items()
        if key != "name" and (key not in FLOW or value != usual[key])
    }
