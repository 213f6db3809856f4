"""Builders of pairs by their specs, as recipes and `medgym pairs build --make` write them.

A spec is a registered name with its options: `outcome`, `outcome,margin=0.5`. Several are joined by
commas: what follows a comma is an option where it has a `=`, else the next builder. The option
`weight` belongs to the mixture: `outcome,weight=3,looking` asks for three pairs of `outcome` to
each of `looking`.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence

from medgym.errors import UserError
from medgym.failures import ContractError, calling
from medgym.registry import load
from medgym.spec import kinds_of, read_options

from .builder import PairBuilder

WEIGHT = "weight"
"""The option of every builder that says how many of all pairs should be its own."""


def read_makes(given: Iterable[str] | Mapping[str, float]) -> dict[str, float]:
    """Builders' specs with their weights, from a table of them or from texts that join several.

    Raises:
        UserError: there is none, one is given twice, or a weight is no number above 0.
    """
    makes: dict[str, float] = {}
    pairs = given.items() if isinstance(given, Mapping) else [(text, 1.0) for text in given]
    for text, weight in pairs:
        for spec, own in _split(text):
            if spec in makes:
                raise UserError(f"the builder {spec!r} is given twice; fix: give it once")
            makes[spec] = weight if own is None else own
    for spec, weight in makes.items():
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"the builder {spec!r} has the weight {weight:g}; fix: one above 0")
    if not makes:
        raise UserError("no builder of pairs is named; fix: name one, such as outcome")
    return makes


def load_builder(spec: str) -> PairBuilder:
    """The builder of a spec.

    Raises:
        UserError: an unknown name or option (the nearest one is named), a value that an option does
            not take, or an option that is needed and not given.
        RunError: the builder fails.
    """
    name, _, text = spec.partition(",")
    make = load("pair_builders", name)
    what = f"the builder of pairs {name}"
    options = read_options(what, text, kinds_of(make), ",")
    for each in inspect.signature(make).parameters.values():
        needed = each.default is each.empty and each.kind is each.KEYWORD_ONLY
        if needed and each.name not in options:
            raise UserError(
                f"{what} needs {each.name}; fix: write {name},{each.name}={each.name.upper()}"
            )
    with calling(f"the builder of pairs {name!r}"):
        made: object = make(**options)
        if not isinstance(made, PairBuilder):
            raise ContractError(f"made a {type(made).__name__}; expected a PairBuilder")
    return made


def load_builders(makes: Mapping[str, float]) -> list[PairBuilder]:
    """The builders of several specs, in their order; errors as of `load_builder`."""
    return [load_builder(spec) for spec in makes]


def _split(text: str) -> Sequence[tuple[str, float | None]]:
    """The specs that a text joins, each without its weight, and the weight if it has one."""
    specs: list[list[str]] = []
    for item in text.split(","):
        if "=" in item and specs:
            specs[-1].append(item.strip())
        else:
            specs.append([item.strip()])
    found = []
    for name, *options in specs:
        if not name or "=" in name:
            raise UserError(
                f"{text!r} names no builder of pairs; fix: write NAME or NAME,key=value"
            )
        own = [each for each in options if each.partition("=")[0] == WEIGHT]
        rest = [each for each in options if each not in own]
        values = read_options(f"the builder of pairs {name}", ",".join(own), {WEIGHT: float}, ",")
        found.append((",".join([name, *rest]), values.get(WEIGHT)))
    return found
