"""`detect`: boxes of what a detector finds on a view, with scores.

Back ends: a detector of transformers, or gold, whole (`oracle`) or at a stated quality (`noised`).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from medgym.errors import ToolError, UserError
from medgym.gold_tool import Aspect, Gold
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace

from ..models.asked import AskedRegion, asked
from ..models.checkpoint import named
from ..models.findings import ExpertFinding, best, listed, outlined
from ..models.gold import NOT_TOLD, GoldFindings, Quality
from ..models.options import OfModels, backend_of, check_told, refuse_unused, share
from ..models.shared import ModelPlace
from .transformers import Detected, TransformersDetector

USUAL = 0.9
"""The sensitivity and the precision of `noised` where none is stated."""

Backend = Literal["transformers", "oracle", "noised"]
OF_GOLD: Mapping[OfModels, Backend] = {"predicted": "noised", "oracle": "oracle"}
Labels = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=80)]], Field(min_length=1, max_length=20)
]


class Detect(Tool):
    """Find lesions or structures on a view: a numbered list with scores and boxes."""

    name = "detect"
    caches = True

    class Args(ToolArgs):
        """Where to look, and for what."""

        view: ViewNumber
        box: BoxArgument | None = None
        labels: Annotated[Labels | None, Field(description="what to look for")] = None

    def __init__(
        self,
        backend: Backend | None = None,
        model: str = "",
        labels: str = "",
        threshold: float = 0.5,
        top: int = 10,
        device: str = "auto",
        dtype: str = "auto",
        sensitivity: float | None = None,
        precision: float | None = None,
        fidelity: OfModels | None = None,
    ) -> None:
        """A detector.

        Args:
            backend: `transformers`, or gold: `oracle`, or `noised` at a stated quality. By default
                that of the fidelity, else `transformers`.
            model: a folder, or a name in the hub's cache; only for `transformers`.
            labels: `nodule;mass`: names for the model's classes, in their order. Of a detector that
                is asked by text: what to look for where a call does not say. Of `noised`: the kinds
                that false findings have.
            threshold: the least score that is told. top: how many are told at most.
            device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: as `[model] dtype` of a recipe.
            sensitivity: of `noised`: the share of gold findings that are found; 0.9 by default.
            precision: of `noised`: the share of its findings that are gold; 0.9 by default.
            fidelity: `predicted` or `oracle`, as of `segment`; by default that of the back end.

        Raises:
            UserError: an option that cannot be, or a model that is missing or does not detect.
        """
        check_told("detect", threshold, top)
        backend = backend_of(
            "detect", backend, fidelity, of_model="transformers", of_gold=OF_GOLD, model=model
        )
        self._backend = backend
        self._labels = named(labels)
        self._threshold, self._top = threshold, top
        self._detector: TransformersDetector | None = None
        self._gold: GoldFindings | None = None
        quality = {"sensitivity": sensitivity, "precision": precision}
        if backend == "transformers":
            refuse_unused("detect", backend, quality)
            place = ModelPlace(device, dtype)
            self._detector = TransformersDetector(model, self._labels, place)
            self.fidelity = "predicted"
            place.declare(self)
            return
        refuse_unused("detect", backend, {"model": model, "device": device, "dtype": dtype})
        self.needs_gold = True
        if backend == "oracle":
            refuse_unused("detect", backend, quality | {"labels": labels})
            self.fidelity = "oracle"
            self._gold = GoldFindings(Quality())
            return
        self.fidelity = "predicted"
        shares = (share("detect", name, given, USUAL) for name, given in quality.items())
        self._gold = GoldFindings(Quality(*shares), self._labels)

    @property
    def source(self) -> str:
        """What finds: the model's name, or the back end's."""
        return self._backend if self._detector is None else self._detector.name

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """What is found, and a view of the region with the boxes drawn on.

        `data` holds `image`, `box_px` (the region that was asked about) and `findings`, each with
        `label`, `score` and `box_px`, in original pixels.
        """
        (result,) = self.run_many([(args, workspace)])
        if isinstance(result, ToolError):
            raise result
        return result

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        """The calls as one batch of the model."""
        detector = self._detector
        if detector is None:
            raise UserError("detect needs gold here; fix: play it in an episode")
        results: list[ToolResult | ToolError | None] = []
        todo: list[tuple[int, AskedRegion, tuple[str, ...]]] = []
        for place, (args, workspace) in enumerate(calls):
            results.append(None)
            try:
                labels = self._looked_for(detector, args.labels)
                todo.append((place, asked(workspace, args.view, args.box), labels))
            except ToolError as error:
                results[place] = error
        pictures = [each.picture() for _, each, _ in todo]
        found = detector.find(pictures, [labels for _, _, labels in todo]) if todo else []
        for (place, each, labels), picture, boxes in zip(todo, pictures, found, strict=True):
            findings = _in_original(each, picture.size, boxes, labels)
            results[place] = self._told(each, findings)
        return [result for result in results if result is not None]

    def with_gold(self, args: Args, workspace: Workspace, gold: Gold) -> ToolResult:
        """The same from gold, without anything from which the answer follows."""
        if self._gold is None:
            return self(args, workspace)
        region = asked(workspace, args.view, args.box)
        if not (gold.tells("place") and gold.tells("count")):
            return ToolResult(f"What there is, and where, is {NOT_TOLD}.", data=region.where())
        findings = self._gold.of(region, gold, args.labels)
        hidden: tuple[Aspect, ...] = ("label", "size")
        return self._told(region, findings, [what for what in hidden if not gold.tells(what)])

    def _looked_for(
        self, detector: TransformersDetector, given: Sequence[str] | None
    ) -> tuple[str, ...]:
        """The labels that a call asks for; empty for all of a model with classes of its own."""
        wanted = tuple(given or ())
        if detector.by_text:
            if not (wanted or self._labels):
                raise ToolError("detect: expected labels: what to look for", "name")
            return wanted or self._labels
        known = {name.casefold(): name for name in detector.classes}
        for label in wanted:
            if label.casefold() not in known:
                raise ToolError(
                    f"detect does not know {label[:40]!r}; expected some of "
                    f"{', '.join(detector.classes[:40])}"
                )
        return tuple(known[label.casefold()] for label in wanted)

    def _told(
        self, region: AskedRegion, findings: Sequence[ExpertFinding], untold: Sequence[str] = ()
    ) -> ToolResult:
        kept = best(findings, self._threshold, self._top)
        data = region.where() | {"findings": [each.as_data() for each in kept]}
        text = listed(kept, region.workspace, region.view)
        if not kept:
            text = f"Nothing found with a score of {self._threshold:g} or more."
        if untold and kept:
            text += "".join(f"\nThe {what} is {NOT_TOLD}." for what in untold)
        view = outlined(region, kept, self.name)
        return ToolResult(text, () if view is None else (view,), data)


def _in_original(
    region: AskedRegion, size: tuple[int, int], boxes: Sequence[Detected], labels: Sequence[str]
) -> list[ExpertFinding]:
    """What was found in a picture of a region, in original pixels; only of `labels`, if any."""
    return [
        ExpertFinding(each.label, each.score, region.to_px(each.box, size))
        for each in boxes
        if not labels or each.label in labels
    ]
