"""The rubric of a recipe: a preset by name, or terms of presets put together.

[rubric]
name = "grounded,measure=coverage"

[[rubric.terms]]                       # or, in place of a name:
term = "outcome.answer"
[[rubric.terms]]
term = "ophiuchus.tool"
weight = 0.5
schedule = [[0.0, 1.0], [0.5, 0.0]]    # share of training done, factor on the weight
"""

from pydantic import BaseModel, ConfigDict

from medgym.errors import UserError
from medgym.rubric import Rubric, Term, load_rubric


class TermTable(BaseModel):
    """`[[rubric.terms]]`: a preset's term, and what is to be different about it.

    Attributes:
        term: `PRESET.TERM`, the preset as `load_rubric` names it.
        name: under which it is logged, by default the term's own.
        weight: by default the term's own.
        schedule: points of a `medgym.rubric.Schedule`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    term: str
    name: str | None = None
    weight: float | None = None
    schedule: tuple[tuple[float, float], ...] | None = None


class RubricTable(BaseModel):
    """`[rubric]`: the `name` of a registered rubric (`outcome` by default), or `terms`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    terms: tuple[TermTable, ...] = ()


def rubric_of(table: RubricTable) -> Rubric:
    """The rubric that a recipe asks for.

    Raises:
        UserError: both a name and terms, an unknown preset or term (the nearest one is named), two
            terms of one name, a schedule or weight that is none.
    """
    if not table.terms:
        return load_rubric(table.name or "outcome")
    if table.name is not None:
        raise UserError(
            f"[rubric] has the name {table.name!r} and terms; fix: keep one of them, "
            f"a rubric's terms are {table.name}.TERM"
        )
    return Rubric("recipe", tuple(_term(each) for each in table.terms))


def _term(table: TermTable) -> Term:
    preset, dot, name = table.term.rpartition(".")
    if not dot:
        raise UserError(
            f"rubric.terms: {table.term!r} is no term; fix: write PRESET.TERM, as outcome.answer"
        )
    term = load_rubric(preset).term(name)
    if table.name is not None:
        term = term.named(table.name)
    if table.weight is not None:
        term = term.weighted(table.weight)
    return term if table.schedule is None else term.scheduled(*table.schedule)
