"""The policies of a consultation's roles: each base is loaded once."""

from collections.abc import Iterable
from pathlib import Path

from medgym.consultation.role import Role
from medgym.errors import UserError
from medgym.policy import Policy, load_policy
from medgym.spec import split_spec, write_spec
from medgym.storage.adapters import name_of


class RolePolicies:
    """Policies by spec and adapter, loaded when they are first asked for."""

    def __init__(self) -> None:
        self._bases: dict[str, Policy] = {}
        self._adapted: dict[tuple[str, str], Policy] = {}

    def of(self, role: Role, specialty: str = "") -> Policy:
        """The policy that plays a role.

        Raises:
            UserError: the role names none, or a person, or what it names cannot be loaded.
        """
        scheme, named, adapter = split_spec(role.spec(specialty))
        adapter = adapter or role.folder(specialty)
        spec = write_spec(scheme, named)
        base = self.base(spec)
        if adapter is None:
            return base
        key = (spec, adapter)
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
        """The policy of a spec without adapter, loaded once."""
        if spec == "human":
            raise UserError(
                "a person cannot take part in a consultation, whose parts do not show their views; "
                "fix: medgym play --policy human plays one episode"
            )
        if spec not in self._bases:
            self._bases[spec] = load_policy(spec, by_recipe=True)
        return self._bases[spec]

    def add(self, spec: str, policy: Policy) -> None:
        """Use a policy that is loaded already for the roles that name this spec."""
        self._bases[spec] = policy

    def loaded(self) -> Iterable[Policy]:
        """All policies that are loaded, with their adapters."""
        return [*self._bases.values(), *self._adapted.values()]

    def close(self) -> None:
        """Close all of them."""
        for policy in self.loaded():
            policy.close()
