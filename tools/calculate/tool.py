"""`calculate`: arithmetic on a line of text, and clinical formulae by name."""

from typing import Annotated, Literal

from pydantic import Field

from medgym.errors import ToolError
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

from .arithmetic import LONGEST, evaluate
from .formulae import takes, work_out

FormulaName = Literal[
    "ellipsoid_volume",
    "recist_change",
    "cardiothoracic_ratio",
    "body_surface_area_dubois",
    "egfr_ckd_epi_2021",
    "corrected_qt_bazett",
    "corrected_qt_fridericia",
    "agatston_category",
    "volume_doubling_time",
    "ejection_fraction",
    "suv_body_weight",
]
"""The names of `formulae.FORMULAE`."""


class Calculate(Tool):
    """Calculate an expression, or a clinical formula: without values it says what it takes."""

    name = "calculate"
    deadline_s = None  # double precision, short texts: it cannot take long

    class Args(ToolArgs):
        """An expression, or a formula with its values."""

        expression: Annotated[
            str | None, Field(max_length=LONGEST, description="such as pi / 6 * 12.3 ** 3")
        ] = None
        formula: FormulaName | None = None
        values: Annotated[
            dict[str, float | str] | None,
            Field(max_length=10, description="of a formula, by name"),
        ] = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """The result in words. `data` holds the `value` of an expression."""
        if args.formula is None:
            if args.expression is None:
                raise ToolError(
                    "there is nothing to calculate; expected an expression or a formula"
                )
            if args.values:
                raise ToolError("values are given without a formula; expected a formula's name")
            value = evaluate(args.expression) + 0.0  # no negative zero
            return ToolResult(f"Result {value:.10g}.", data={"value": value})
        if args.expression is not None:
            raise ToolError("an expression and a formula are given; expected one of them")
        if not args.values:
            return ToolResult(f"{takes(args.formula)}.")
        return ToolResult(work_out(args.formula, args.values))
