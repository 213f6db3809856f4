"""What `retrieve` does with an index: the arguments that it takes, and a search for each call."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from PIL import Image
from pydantic import Field, create_model

from medgym.errors import ToolError, UserError
from medgym.tool import BoxArgument, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

from .guard import allowed
from .index.manifest import read_manifest
from .index.search import Match, Query, SearchIndex, kept, open_index

Selection = Literal["k", "ratio", "calibrated"]

GAMMA = 2 / 3
"""The least part of the best score: MMed-RAG's code cuts where the best is 1.5 times as high."""

MOST = 5
"""Documents of one answer."""

Words = Annotated[str, Field(min_length=1, max_length=300, description="words to look for")]
OptionalWords = Annotated[str, Field(max_length=300, description="words to look for")]
ImageView = Annotated[ViewNumber | None, Field(description="view whose like is looked for")]
ImageBox = Annotated[BoxArgument | None, Field(description="only this region of the view")]
PriorView = Annotated[
    ViewNumber | None, Field(description="view of the earlier study; then pairs are looked for")
]
Count = Annotated[int, Field(ge=1, le=MOST, description="number of matches")]
Most = Annotated[int, Field(ge=1, le=MOST, description="greatest number of matches")]


class IndexedSearch:
    """Searches one index for `retrieve`.

    Args:
        folder: of the index.
        select, gamma: as of `Retrieve`.

    Attributes:
        form: the arguments of a call: an index of images takes views, one of follow-ups a prior.
        needs_model: whether a query is embedded by a model.
        state: what tells the index from another one in the same folder.

    Raises:
        UserError: there is no index, or none that was calibrated where that is asked for.
    """

    def __init__(self, folder: Path, select: Selection, gamma: float) -> None:
        if select not in get_args(Selection):
            known = ", ".join(get_args(Selection))
            raise UserError(f"retrieve cannot select by {select!r}; known: {known}")
        if not 0 < gamma <= 1:
            raise UserError(f"gamma is {gamma:g}; fix: give a part of the best score, as 0.67")
        if select != "ratio" and gamma != GAMMA:
            raise UserError("gamma is for select=ratio; fix: add select=ratio, or omit gamma")
        self.folder, self._select, self._gamma = folder, select, gamma
        manifest = read_manifest(folder)
        if select == "calibrated" and manifest.calibration is None:
            raise UserError(
                f"the index {folder} is not calibrated; fix: run medgym index calibrate {folder} "
                "CASES, or omit select"
            )
        self._k = manifest.calibration.k if manifest.calibration else 0
        self._has_images = any(space.images for space in manifest.spaces)
        self._has_pairs = self._has_images and any(part.pairs for part in manifest.parts)
        self.needs_model = any(":" in space.spec for space in manifest.spaces)
        self.state = manifest.state
        self.form = self._form()

    @property
    def description(self) -> str:
        """What the policy reads."""
        how = ", by words, by a view, or by both" if self._has_images else ""
        return f"Search reference passages and solved cases{how}; returns the best matches as text."

    def _form(self) -> type[ToolArgs]:
        fields: dict[str, Any] = {"query": (Words, ...)}
        if self._has_images:
            fields = {
                "query": (OptionalWords, ""), "view": (ImageView, None), "box": (ImageBox, None),
            }  # fmt: skip
        if self._has_pairs:
            fields["prior"] = (PriorView, None)
        if self._select != "calibrated":
            fields["k"] = (Count if self._select == "k" else Most, 3)
        return create_model("Args", __base__=ToolArgs, **fields)

    @cached_property
    def index(self) -> SearchIndex:
        """The index, opened at the first call."""
        opened = open_index(self.folder)
        if opened.manifest.state != self.state:
            raise replaced(self.folder)
        return opened

    def find(self, args: Any, workspace: Workspace) -> ToolResult:
        """The best matches that the guard allows."""
        query = self._query(args, workspace)
        count = self._k if self._select == "calibrated" else args.k
        found = self.index.find(query, count, lambda document: allowed(document, workspace))
        if self._select == "ratio":
            found = kept(found, self._gamma)
        return result_of(found)

    def _query(self, args: Any, workspace: Workspace) -> Query:
        number, box = getattr(args, "view", None), getattr(args, "box", None)
        prior = getattr(args, "prior", None)
        if number is None:
            if box is not None or prior is not None:
                which = "box" if box is not None else "prior"
                raise ToolError(f"{which} needs view; expected the view that it belongs to")
            if not args.query:
                raise ToolError("nothing to look for; expected query, view, or both")
            return Query(args.query, modalities=modalities_of(workspace))
        picture = _shown(workspace, number, box)
        earlier = None if prior is None else workspace.view(prior).picture
        return Query(args.query, picture, earlier, modalities_of(workspace))


def replaced(folder: Path) -> UserError:
    """That another index lies where that of the run was."""
    return UserError(
        f"the index {folder} was replaced after the run began; fix: start the run again"
    )


def _shown(workspace: Workspace, number: int, box: list[float] | None) -> Image.Image:
    view: View = workspace.view(number)
    if box is None:
        return view.picture
    box_px = workspace.box_px(number, box)
    return workspace.look(
        view.image, box_px, enlarge=True, made_by=None, **vars(view.place)
    ).picture


def modalities_of(workspace: Workspace) -> frozenset[str]:
    """The modalities of the images that are looked at; empty where one of them is not known."""
    found = {study.modality for study in workspace.studies}
    return frozenset() if None in found else frozenset(each for each in found if each)


def result_of(found: list[Match]) -> ToolResult:
    """What was found, as the policy reads it."""
    data = {
        "ids": [each.document.id for each in found],
        "scores": [round(each.score, 6) for each in found],
        "ratios": [round(each.ratio, 4) for each in found],
    }
    if not found:
        return ToolResult("Nothing was found; other words may help.", data=data)
    lines = (f"[{number}] {each.document.text}" for number, each in enumerate(found, 1))
    return ToolResult("\n".join(lines), data=data)
