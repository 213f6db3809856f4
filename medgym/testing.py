"""The conformance kit: `check_tool(tool)` plays a tool as episodes do and holds it to its contract.

For the author of a plug-in; medgym's own tools pass through the same checks. It needs no extra
library, draws its calls from the tool's own JSON schema, and repeats them exactly for a seed.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medgym.cases import open_cases
from medgym.errors import ToolError
from medgym.imaging.grey import Window
from medgym.imaging.imaging_study import ImagingStudy, Plane
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.imaging.slabs import Slab
from medgym.imaging.study import Study
from medgym.tool import Fidelity, Tool, ToolResult
from medgym.workspace import Workspace

CASES = "phantom,question=kind:train[:3]"
"""The cases that a tool is tried on beside plain images."""

SIZES = ((1, 1), (1, 7), (37, 23), (640, 480), (3, 2000))
"""Widths and heights of the plain images."""

ODD: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "x" * 3000, "\x00\ud800",
    [], [[]], [None] * 4, [1, 2, 3, 4, 5], {}, {"view": 0},
)  # fmt: skip
"""Values that no argument asks for, or at the edge of what one can be."""


def check_tool(tool: Tool, *, cases: str = CASES, calls: int = 40, seed: int = 0) -> None:
    """Check that a tool keeps its contract; for a plug-in's own tests.

    It has a name, a docstring, a fidelity and a JSON schema; malformed arguments and impossible
    requests raise `ToolError` and nothing else; the same call yields the same result, whatever was
    called before; workspace and pixels stay as they were; views lie inside their image and within
    `view_size`; `data` survives JSON. It is tried with `calls` calls on each of `cases` and on
    plain images of odd sizes, 1 x 1 among them.

    Raises:
        AssertionError: the tool breaks its contract; the text says how, and by which call.
    """
    _check_declaration(tool)
    chance = random.Random(seed)
    for make, name in _workspaces(cases):
        drawn = [_draw_call(tool.schema()["parameters"], chance, make()) for _ in range(calls)]
        forward = [_outcome(tool, call, make(), name) for call in drawn]
        backward = [_outcome(tool, call, make(), name) for call in reversed(drawn)]
        for call, one, other in zip(drawn, forward, reversed(backward), strict=True):
            _expect(
                one == other,
                f"{tool.name}: the same call gives another result after other calls: "
                f"{_shown(call)} on {name}",
            )


def _expect(holds: bool, fault: str) -> None:
    if not holds:
        raise AssertionError(fault)


def _check_declaration(tool: Tool) -> None:
    name = getattr(tool, "name", None)
    _expect(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) is not None,
        f"{type(tool).__name__}: name is {name!r}; expected letters, digits, - and _",
    )
    _expect(
        tool.fidelity in get_args(Fidelity),
        f"{name}: fidelity is {tool.fidelity!r}; expected one of {', '.join(get_args(Fidelity))}",
    )
    _expect(
        type(tool).__doc__ is not None and bool(tool.description.strip()),
        f"{name}: no docstring; it is what the policy reads",
    )
    schema = tool.schema()
    try:
        same = json.loads(json.dumps(schema, allow_nan=False)) == schema
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{name}: the schema is not JSON: {error}") from error
    parameters = schema.get("parameters", {})
    _expect(
        same and parameters.get("type") == "object" and isinstance(parameters["properties"], dict),
        f"{name}: the parameters' schema is not that of an object",
    )
    _expect(
        set(parameters.get("required", ())) <= set(parameters["properties"]),
        f"{name}: the schema requires an argument that it does not describe",
    )
    for argument, described in parameters["properties"].items():
        _expect(
            bool(_kinds(described, parameters)),
            f"{name}: the schema does not say what {argument!r} is",
        )


def _workspaces(cases: str) -> Iterator[tuple["_Maker", str]]:
    for case in open_cases(cases):
        studies = [opened_image(ref) for ref in case.images]
        size = (studies[0].start.view_sizes or (64,))[-1]
        yield _Maker(studies, size, (case.id, case.group)), case.id
    for number, (width, height) in enumerate(SIZES):
        plain = np.random.default_rng(number)
        grey = number % 2
        shape = (height, width) if grey else (height, width, 3)
        study = Study(plain.integers(0, 256, shape).astype(np.uint8), (0.5, 0.25) if grey else None)
        yield _Maker([study, study], 48, ("plain",)), f"a plain image of {width} x {height}"
    values = np.random.default_rng(len(SIZES)).normal(0, 400, (5, 4, 6)).astype(np.float32)
    start = ImagePlace("coronal", 1, Slab(3), None)
    volume = PlainVolume(values)
    opened = OpenedImage(volume, start, volume.slab(start.plane, start.index, Slab(3)))
    yield _Maker([opened], 48, ("volume",)), "a plain volume"


class PlainVolume(ImagingStudy):
    """A volume in memory, as (z, y, x) in Hounsfield units; each voxel 1 mm wide and 2 mm deep."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__("a plain volume")
        self._values = values

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        deep, high, wide = self._values.shape
        return {
            "axial": Plane(deep, (wide, high), (1.0, 1.0), "patient"),
            "coronal": Plane(high, (wide, deep), (2.0, 1.0), "patient"),
        }

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
        """See `ImagingStudy.decode`."""
        x0, y0, x1, y1 = region
        image = self._values[index] if plane == "axial" else self._values[:, index]
        spacing = self.planes[plane].spacing_mm
        return Study(image[y0:y1, x0:x1], spacing, "CT", Window(40.0, 800.0), unit="HU")

    def place_mm(self, plane: str, index: int) -> float | None:
        """See `ImagingStudy.place_mm`."""
        return 2.0 * index if plane == "axial" else float(index)


class _Maker:
    """Makes the same workspace again and again, with its first view looked at more closely."""

    def __init__(
        self, studies: Sequence[Study | OpenedImage], size: int, names: tuple[str, ...]
    ) -> None:
        self.studies, self.size, self.names = tuple(studies), size, names

    def __call__(self) -> Workspace:
        made = Workspace(self.studies, view_size=self.size, names=self.names)
        width, height = made.studies[0].size
        corner = (0.0, 0.0, float((width + 1) // 2), float((height + 1) // 2))
        made.add(made.look(0, corner, enlarge=True, made_by="check_tool"))
        return made


def _outcome(tool: Tool, call: Mapping[str, Any], workspace: Workspace, name: str) -> str:
    """What a call does, as text that two runs can be compared by."""
    where = f"by {_shown(call)} on {name}"
    held = [view.picture for view in workspace.views]  # what is drawn on is what is compared
    before = _fingerprint(workspace)
    try:
        result = tool(tool.parse(call), workspace)
    except ToolError as error:
        _expect(bool(str(error)), f"{tool.name}: a ToolError without a text {where}")
        outcome = f"error: {error}"
    except Exception as error:
        raise AssertionError(
            f"{tool.name}: raised {type(error).__name__} ({error}) {where}; expected a ToolError"
        ) from error
    else:
        outcome = _check_result(tool, result, workspace, where)
    _expect(_fingerprint(workspace) == before, f"{tool.name}: changed the workspace {where}")
    del held
    try:
        outcome.encode()
    except UnicodeEncodeError as error:
        raise AssertionError(f"{tool.name}: text that is not Unicode {where}") from error
    return outcome


def _check_result(tool: Tool, result: ToolResult, workspace: Workspace, where: str) -> str:
    _expect(
        isinstance(result, ToolResult) and isinstance(result.text, str),
        f"{tool.name}: returned {type(result).__name__} {where}; expected a ToolResult with text",
    )
    try:
        data = json.dumps(dict(result.data), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{tool.name}: data is not JSON ({error}) {where}") from error
    parts = [result.text, data]
    for view in result.views:
        _expect(
            view.number == -1,
            f"{tool.name}: numbered a view itself {where}; the episode does that",
        )
        _expect(
            0 <= view.image < len(workspace.studies),
            f"{tool.name}: a view of an image {view.image} that does not exist {where}",
        )
        x0, y0, x1, y1 = view.box_px
        width, height = workspace.images[view.image].size(view.place)
        _expect(
            0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height,
            f"{tool.name}: a view outside its image ({view.box_px} of {width} x {height}) {where}",
        )
        _expect(
            view.picture.mode == "RGB" and 0 < max(view.size) <= workspace.view_size,
            f"{tool.name}: a view of {view.size} {view.picture.mode} {where}; expected RGB within "
            f"{workspace.view_size} x {workspace.view_size}",
        )
        pixels = hashlib.sha256(view.picture.tobytes()).hexdigest()
        parts.append(f"{view.image} {view.box_px} {view.size} {view.made_by} {view.place} {pixels}")
    return "\n".join(parts)


def _fingerprint(workspace: Workspace) -> tuple[Any, ...]:
    views = tuple(
        (v.number, v.image, v.box_px, v.made_by, v.place, v.size, v.picture.tobytes())
        for v in workspace.views
    )
    pixels = tuple(hashlib.sha256(study.pixels.tobytes()).digest() for study in workspace.studies)
    return views, pixels, workspace.view_size, workspace.coordinates


def _shown(call: Mapping[str, Any]) -> str:
    text = repr(dict(call))
    return text if len(text) <= 200 else text[:194] + " [cut]"


def _draw_call(
    parameters: Mapping[str, Any], chance: random.Random, workspace: Workspace
) -> dict[str, Any]:
    """Arguments as the schema describes them; about every third call is spoilt in one place."""
    required = set(parameters.get("required", ()))
    call = {
        argument: _draw(described, parameters, chance, workspace)
        for argument, described in parameters["properties"].items()
        if argument in required or chance.random() < 0.5
    }
    if chance.random() < 0.3:
        spoilt = chance.choice([*parameters["properties"], "no_such_argument"])
        if spoilt in call and chance.random() < 0.3:
            del call[spoilt]
        else:
            call[spoilt] = chance.choice(ODD)
    return call


def _kinds(described: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a schema: those that name a type, a constant or a choice."""
    if "$ref" in described:
        return _kinds(root["$defs"][described["$ref"].rpartition("/")[2]], root)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in described:
            return [kind for each in described[key] for kind in _kinds(each, root)]
    return [described] if described.keys() & {"type", "enum", "const"} else []


def _draw(
    described: Mapping[str, Any],
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
) -> Any:
    kind = chance.choice(_kinds(described, root))
    if "const" in kind:
        return kind["const"]
    if "enum" in kind:
        return chance.choice(kind["enum"])
    if kind["type"] == "array":
        return _draw_array(kind, root, chance, workspace)
    if kind["type"] == "object":
        inner = kind.get("properties", {})
        return {key: _draw(each, root, chance, workspace) for key, each in inner.items()}
    if kind["type"] == "string":
        least = kind.get("minLength", 0)
        letters = "abcdefgh lesion pattern é\n\x00"
        return "".join(chance.choices(letters, k=least + chance.randrange(20)))
    if kind["type"] == "boolean":
        return chance.random() < 0.5
    if kind["type"] == "null":
        return None
    low = kind.get("minimum", kind.get("exclusiveMinimum", 0))
    if kind["type"] == "integer":
        # A view's number is the commonest whole number of a call: mostly one that exists.
        high = kind.get("maximum", low + len(workspace.views))
        return chance.randint(int(low), int(high))
    return chance.uniform(low, kind.get("maximum", kind.get("exclusiveMaximum", 1000)))


def _draw_array(
    kind: Mapping[str, Any],
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
) -> list[Any]:
    items = kind.get("prefixItems")
    if items is None:
        least = kind.get("minItems", 0)
        length = chance.randint(least, kind.get("maxItems", least + 3))
        items = [kind.get("items", {"type": "number"})] * length
    values = [_draw(each, root, chance, workspace) for each in items]
    numbers = all(isinstance(value, int | float) for value in values)
    if len(values) == 4 and numbers and chance.random() < 0.8:
        # A box of the right form: corners in order, sometimes a sliver, sometimes the whole view.
        x, y = sorted(values[::2]), sorted(values[1::2])
        if chance.random() < 0.2:
            x[1] = x[0] + 1e-6
        values = [x[0], y[0], x[1], y[1]] if chance.random() < 0.9 else [0, 0, 1000, 1000]
    return values
