"""The policies of a consultation's roles: each base once, however many adapters stand on it."""

from collections.abc import Iterable
from pathlib import Path

from medgym.errors import UserError
from medgym.policy import Policy, load_policy
from medgym.spec import split_spec, write_spec
from medgym.storage.adapters import name_of

from .roles import Role


class Players:
    """Policies by spec and adapter, made when they are first asked for."""

    def __init__(self) -> None:
        self._bases: dict[str, Policy] = {}
        self._adapted: dict[tuple[str, str], Policy] = {}

    def of(self, role: Role, specialty: str = "") -> Policy:
        """Who plays a role.

        Raises:
            UserError: nobody does, a person is to, or what is named cannot be had.
        """
        scheme, named, adapter = split_spec(role.spec(specialty))
        adapter = adapter or role.folder(specialty)
        base = self.base(write_spec(scheme, named))
        if adapter is None:
            return base
        key = (base.spec, adapter)
        if key not in self._adapted:
            if not base.takes_adapters:
                raise UserError(
                    f"{base.spec} takes no adapter, and the {role.name} is to play by {adapter}; "
                    "fix: name a policy with a model"
                )
            folder = Path(adapter).expanduser()
            self._adapted[key] = base.with_adapter(name_of(folder), folder)
        return self._adapted[key]

    def base(self, spec: str) -> Policy:
        """The policy of a spec without adapter, made once."""
        if spec == "human":
            raise UserError(
                "a person cannot take part in a consultation, whose parts show nobody their views; "
                "fix: medgym play --policy human plays one episode"
            )
        if spec not in self._bases:
            self._bases[spec] = load_policy(spec)
        return self._bases[spec]

    def add(self, spec: str, policy: Policy) -> None:
        """A policy that is made already, under the spec by which roles name it."""
        self._bases[spec] = policy

    def made(self) -> Iterable[Policy]:
        """All that were made, with their adapters."""
        return [*self._bases.values(), *self._adapted.values()]
