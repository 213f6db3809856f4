"""Arithmetic on a line of text, which can do nothing else.

Python's parser reads the text, and only the nodes named here are evaluated. All numbers are of
double precision, so that no expression takes long or much memory: `9**9**9` is too large, at once.
"""

import ast
import math
import re
from collections.abc import Callable, Sequence
from statistics import fmean

from medgym.errors import ToolError

LONGEST = 300
"""Characters of an expression at most."""

DEEPEST = 60
"""How deep brackets and signs may be nested."""

CONSTANTS = {"pi": math.pi, "e": math.e}

_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}
_MANY: dict[str, Callable[[Sequence[float]], float]] = {"min": min, "max": max, "mean": fmean}

FUNCTIONS = (*_ONE, *_MANY, "round")
"""What may be called. `log` is the natural logarithm; angles are in radians."""

EXPECTED = (
    f"expected numbers, + - * / ** and brackets, pi, e, and the functions {', '.join(FUNCTIONS)}"
)

_WRITTEN = re.compile(r"[0-9A-Za-z_.,+\-*/() ]+")
_GLUED = re.compile(r"(?<![A-Za-z_0-9])[0-9.]+(?![eE][+-]?[0-9])[A-Za-z_]")

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,
}


def evaluate(text: str) -> float:
    """The value of an expression, a finite number.

    Raises:
        ToolError: it is no expression, it has no real value, or one too large.
    """
    if len(text) > LONGEST:
        raise ToolError(f"the expression has {len(text)} characters; expected {LONGEST} at most")
    wrong = re.sub(_WRITTEN, "", text)
    if wrong or not text.strip():
        what = f"the sign {wrong[0]!r}" if wrong else "an empty expression"
        raise ToolError(f"{what} cannot be calculated; {EXPECTED}")
    glued = _GLUED.search(text)
    if glued:
        raise ToolError(f"{glued[0]!r} is neither a number nor a name; {EXPECTED}")
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(f"{text[:60]!r} is no expression; {EXPECTED}") from None
    return _value(body, 0)


def _value(node: ast.expr, depth: int) -> float:
    """The value of a part; every part is checked, so that no infinity is calculated with."""
    if depth > DEEPEST:
        raise ToolError(f"the expression is nested deeper than {DEEPEST}; expected a simpler one")
    try:
        value = _raw(node, depth + 1)
    except ZeroDivisionError:
        raise ToolError("a division by zero has no value; expected another divisor") from None
    except OverflowError:
        value = math.inf
    except ValueError:
        what = ast.unparse(node)[:60]
        raise ToolError(f"{what} is no real number; expected arguments for which it is") from None
    if not math.isfinite(value):
        raise ToolError(
            f"{ast.unparse(node)[:60]} is too large; expected numbers of less than 1.8e308"
        )
    return value


def _raw(node: ast.expr, depth: int) -> float:
    value: object = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        operand = _value(node.operand, depth)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, depth), _value(node.right, depth)
        if isinstance(node.op, ast.Pow) and left == 0 and right < 0:
            raise ZeroDivisionError
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _called(node.func.id, [_value(each, depth) for each in node.args])
    raise ToolError(f"{ast.unparse(node)[:60]} cannot be calculated; {EXPECTED}")


def _called(name: str, given: Sequence[float]) -> float:
    if name in _ONE and len(given) == 1:
        return float(_ONE[name](given[0]))
    if name in _MANY and given:
        return float(_MANY[name](given))
    if name == "round" and len(given) in (1, 2):
        digits = given[1] if len(given) == 2 else 0.0
        if not digits.is_integer() or abs(digits) > 15:
            raise ToolError("round takes a number, and digits as a whole number up to 15")
        return float(round(given[0], int(digits)))
    if name in FUNCTIONS:
        count = "one or two numbers" if name == "round" else "one or more numbers"
        count = "one number" if name in _ONE else count
        raise ToolError(f"{name} was given {len(given)} numbers; expected {count}")
    raise ToolError(f"there is no function {name[:40]!r}; {EXPECTED}")
