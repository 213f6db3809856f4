"""Roles: who takes part in a consultation, with which words, tools, adapter and draws.

A role is registered in the entry-point group `medgym.roles` as what makes its defaults; a recipe's
table `[roles.NAME]` changes them. Shipped are `triage`, `specialist` (with one prompt for each
specialty) and `attending`; `role = "NAME"` in a table takes those of another registered role.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medgym.consultation.opinions import ATTENDING, SPECIALIST, TRIAGE
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Sampling
from medgym.registry import load
from medgym.rubric import load_rubric
from medgym.toml import read_table
from medgym.tool import load_tools


@dataclass(frozen=True)
class Role:
    """One role of a consultation.

    Attributes:
        name: `triage`, `specialist`, `attending`; adapters and branches are kept under it.
        prompt: the system prompt; `{specialty}` stands for a specialist's own.
        policy: the spec of who plays it, `{specialty}` as well; None where a recipe must say. In a
            recipe `{here}` stands for the folder that it lies in, as the base of a trained run.
        adapter: the folder of a LoRA adapter on that policy's base; `{specialty}` as well.
        tools: registered tools that it may use; None for those of the rollout.
        rubric: registered rubric that scores it; None for that of the rollout.
        max_turns: replies that it has; None for those of the rollout.
        temperature, max_tokens: how its replies are drawn; None for those of the rollout.
        trainable: whether training changes it.
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

    def spec(self, specialty: str = "") -> str:
        """The spec of its policy, without the adapter.

        Raises:
            UserError: the recipe does not say who plays it.
        """
        if self.policy is None:
            raise UserError(
                f"nobody plays the {self.name}; fix: write policy = ... under [roles.{self.name}]"
            )
        return self.policy.replace("{specialty}", specialty)

    def folder(self, specialty: str = "") -> str | None:
        """The folder of its adapter, in whose name a specialty has no spaces."""
        return self.adapter and self.adapter.replace("{specialty}", specialty.replace(" ", "-"))

    def rules(self, given: Rules, specialty: str = "") -> Rules:
        """Its rules where a rollout's are `given`; view size and coordinates are the same."""
        return replace(
            given,
            prompt=self.prompt.replace("{specialty}", specialty),
            tools=given.tools if self.tools is None else load_tools(self.tools),
            rubric=given.rubric if self.rubric is None else load_rubric(self.rubric),
            max_turns=given.max_turns if self.max_turns is None else self.max_turns,
        )

    def sampling(self, given: Sampling | None) -> Sampling:
        """How its replies are drawn where a rollout's are drawn as `given`."""
        base = given or Sampling()
        return replace(
            base,
            temperature=base.temperature if self.temperature is None else self.temperature,
            max_tokens=base.max_tokens if self.max_tokens is None else self.max_tokens,
        )


def triage() -> Role:
    """Chooses who sees the case; from the overview, in one reply."""
    return Role(
        TRIAGE,
        prompt="You are the triage doctor. You choose who sees a patient.",
        tools=(),
        rubric="triage",
        max_turns=1,
        trainable=True,
    )


def specialist() -> Role:
    """Gives an opinion on a case from the knowledge of one specialty."""
    return Role(SPECIALIST, prompt="You are the {specialty} whom a colleague asks for an opinion.")


def attending() -> Role:
    """Reads the opinions, may look for itself, and decides."""
    return Role(
        ATTENDING,
        prompt=(
            "You are the attending physician. You see the opinions of specialists, who may be "
            "wrong. You decide."
        ),
        trainable=True,
    )


class RoleTable(BaseModel):
    """`[roles.NAME]` of a recipe: what differs from the role's defaults."""

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


def role_of(name: str, table: Mapping[str, Any], where: str, base: Path | None = None) -> Role:
    """A role from its recipe's table; relative adapters lie beside the recipe, in `base`.

    Raises:
        UserError: an unknown key or role (the nearest is named), a wrong value.
    """
    given = read_table(RoleTable, table, where, f"roles.{name}")
    made = load("roles", given.role or name)()
    if not isinstance(made, Role):
        raise UserError(
            f"the role {given.role or name!r} makes no Role but a {type(made).__name__}; fix: let "
            "what is registered return a Role"
        )
    changes = given.model_dump(exclude_none=True, exclude={"role"})
    if base is not None and given.adapter and not Path(given.adapter).expanduser().is_absolute():
        changes["adapter"] = str(base.resolve() / given.adapter)
    if base is not None and given.policy:
        changes["policy"] = given.policy.replace("{here}", str(base.resolve()))
    return replace(made, name=name, **changes)
