"""`classify`: what a classifier says of a view, with scores.

Back ends: a classifier of transformers, one of torchxrayvision, or gold, whole (`oracle`) or at a
stated quality (`noised`).
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
from ..models.findings import ExpertFinding, best, listed
from ..models.gold import NOT_TOLD, GoldClasses
from ..models.options import OfModels, backend_of, check_told, refuse_unused, share
from ..models.shared import ModelPlace
from .torchxrayvision import XRayClassifier
from .transformers import TransformersClassifier

USUAL = 0.9
"""The accuracy of `noised` where none is stated."""

Backend = Literal["transformers", "torchxrayvision", "oracle", "noised"]
OF_GOLD: Mapping[OfModels, Backend] = {"predicted": "noised", "oracle": "oracle"}
ASPECTS: tuple[Aspect, ...] = ("label", "place", "count")
"""What follows from the kinds of findings in a box."""

Labels = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=80)]], Field(min_length=1, max_length=20)
]


class Classify(Tool):
    """Say what a view, or a box of it, shows: a numbered list of findings with scores."""

    name = "classify"
    caches = True

    class Args(ToolArgs):
        """What to look at, and what to choose from."""

        view: ViewNumber
        box: BoxArgument | None = None
        labels: Annotated[Labels | None, Field(description="what to choose from")] = None

    def __init__(
        self,
        backend: Backend | None = None,
        model: str = "",
        labels: str = "",
        threshold: float = 0.0,
        top: int = 5,
        prompt: str = "",
        device: str = "auto",
        dtype: str = "auto",
        accuracy: float | None = None,
        fidelity: OfModels | None = None,
    ) -> None:
        """A classifier.

        Args:
            backend: `transformers`, `torchxrayvision`, or gold: `oracle`, or `noised` at a stated
                quality. By default that of the fidelity, else `transformers`.
            model: a folder, or a name in the hub's cache; of `torchxrayvision` a file of weights,
                or a name.
            labels: `nodule;mass`: names for the model's classes, in their order. Of a classifier
                that is asked by text: what to choose from where a call does not say. Of gold: the
                kinds that are asked about beside those of the case.
            threshold: the least score that is told. top: how many are told at most.
            prompt: of a classifier that is asked by text: what it reads, with the label for `{}`;
                by default "This is a photo of {}."
            device: `auto`, `cpu`, `cuda` or `cuda:N`. dtype: as `[model] dtype` of a recipe.
            accuracy: of `noised`: the share of labels that it says rightly to be there or not; 0.9
                by default.
            fidelity: `predicted` or `oracle`, as of `segment`; by default that of the back end.

        Raises:
            UserError: an option that cannot be, or a model that is missing or does not classify.
        """
        check_told("classify", threshold, top)
        backend = backend_of(
            "classify", backend, fidelity, of_model="transformers", of_gold=OF_GOLD, model=model
        )
        self._backend = backend
        self._labels = named(labels)
        self._threshold, self._top = threshold, top
        self._classifier: TransformersClassifier | XRayClassifier | None = None
        self._gold: GoldClasses | None = None
        if backend in ("transformers", "torchxrayvision"):
            refuse_unused("classify", backend, {"accuracy": accuracy})
            place = ModelPlace(device, dtype)
            if backend == "transformers":
                self._classifier = TransformersClassifier(model, self._labels, prompt, place)
            else:
                refuse_unused("classify", backend, {"prompt": prompt, "dtype": dtype})
                self._classifier = XRayClassifier(model, self._labels, place)
            self.fidelity = "predicted"
            place.declare(self)
            return
        unused = {"model": model, "prompt": prompt, "device": device, "dtype": dtype}
        refuse_unused("classify", backend, unused)
        self.needs_gold = True
        if backend == "oracle":
            refuse_unused("classify", backend, {"accuracy": accuracy})
        self.fidelity = "oracle" if backend == "oracle" else "predicted"
        right = 1.0 if backend == "oracle" else share("classify", "accuracy", accuracy, USUAL)
        self._gold = GoldClasses(right, self._labels)

    @property
    def source(self) -> str:
        """What classifies: the model's name, or the back end's."""
        return self._backend if self._classifier is None else self._classifier.name

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """The labels with the highest scores.

        `data` holds `image`, `box_px` (the region that was asked about, in original pixels) and
        `findings`, each with `label` and `score`.
        """
        (result,) = self.run_many([(args, workspace)])
        if isinstance(result, ToolError):
            raise result
        return result

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        """The calls as one batch of the model."""
        classifier = self._classifier
        if classifier is None:
            raise UserError("classify needs gold here; fix: play it in an episode")
        results: list[ToolResult | ToolError | None] = []
        todo: list[tuple[int, AskedRegion, tuple[str, ...]]] = []
        for place, (args, workspace) in enumerate(calls):
            results.append(None)
            try:
                labels = self._chosen_from(classifier, args.labels)
                todo.append((place, asked(workspace, args.view, args.box), labels))
            except ToolError as error:
                results[place] = error
        pictures = [each.picture() for _, each, _ in todo]
        found = classifier.scores(pictures, [labels for _, _, labels in todo]) if todo else []
        for (place, each, labels), scores in zip(todo, found, strict=True):
            kept = {name: scores[name] for name in labels or scores}
            results[place] = self._told(each, [ExpertFinding(*pair) for pair in kept.items()])
        return [result for result in results if result is not None]

    def with_gold(self, args: Args, workspace: Workspace, gold: Gold) -> ToolResult:
        """The same from gold, without anything from which the answer follows."""
        if self._gold is None:
            return self(args, workspace)
        region = asked(workspace, args.view, args.box)
        if not all(map(gold.tells, ASPECTS)):
            return ToolResult(f"What it shows is {NOT_TOLD}.", data=region.where())
        return self._told(region, self._gold.of(region, gold, args.labels))

    def _chosen_from(
        self,
        classifier: TransformersClassifier | XRayClassifier,
        given: Sequence[str] | None,
    ) -> tuple[str, ...]:
        """The labels that a call asks for; empty for all of a model with classes of its own."""
        wanted = tuple(dict.fromkeys(given or ()))
        if classifier.by_text:
            if not (wanted or self._labels):
                raise ToolError("classify: expected labels: what to choose from", "name")
            return wanted or self._labels
        known = {name.casefold(): name for name in classifier.classes}
        for label in wanted:
            if label.casefold() not in known:
                raise ToolError(
                    f"classify does not know {label[:40]!r}; expected some of "
                    f"{', '.join(classifier.classes[:40])}"
                )
        return tuple(known[label.casefold()] for label in wanted)

    def _told(self, region: AskedRegion, findings: Sequence[ExpertFinding]) -> ToolResult:
        kept = best(findings, self._threshold, self._top)
        data = region.where() | {"findings": [each.as_data() for each in kept]}
        text = listed(kept, region.workspace, region.view)
        if not kept:
            text = f"Nothing has a score of {self._threshold:g} or more."
        return ToolResult(text, (), data)
