"""Trajectories as TRL takes them: token ids, masks, log-probabilities and images of each row.

A row is the concatenation of a trajectory from its root to the policy's last token, cut nowhere:
what TRL trains on is what the sampler read and wrote, and every image is there whole.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from trl import GRPOTrainer

from medgym.episode import Rules
from medgym.metrics.recorded_tokens import LostImages, read_nodes, shown_images
from medgym.trajectory import Node, Trajectory


@dataclass(frozen=True)
class BatchRow:
    """One trajectory.

    Attributes:
        prompt: tokens up to the first reply.
        completion: all tokens after them, up to the end of the last reply.
        mask: 1 on the tokens of the completion that are trained on, which are the policy's.
        logprobs: of the completion's tokens; 0 where nothing was sampled.
        images: the images in the order of their placeholders.
        features: the placeholders of each of `images`.
        messages: the completion in words, for TRL's tables of completions.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    mask: tuple[int, ...]
    logprobs: tuple[float, ...]
    images: tuple[Image.Image, ...] = ()
    features: tuple[int, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()

    def silent(self) -> "BatchRow":
        """The same row with nothing to be trained on."""
        return replace(self, mask=(0,) * len(self.mask))


def rows_of(
    trajectories: Sequence[Trajectory], pictures: Mapping[str, Image.Image]
) -> list[BatchRow | None]:
    """The rows of a step's trajectories, None for those that failed.

    Raises:
        LostImages: one that a trajectory shows did not arrive.
    """
    return [row_of(each, pictures) if each.failure is None else None for each in trajectories]


def shortest(rows: Sequence[BatchRow | None]) -> BatchRow | None:
    """The row with the fewest tokens.

    A failed trajectory has no tokens, and batches have no holes: this row stands in for it, silent.
    It shows its images, for TRL feeds a batch without any image in another way.
    """
    whole = [row for row in rows if row is not None]
    return min(whole, key=lambda row: len(row.prompt) + len(row.completion), default=None)


def filled(
    rows: Sequence[BatchRow | None], stand_in: BatchRow | None, silent: Sequence[bool]
) -> list[BatchRow]:
    """The rows without a hole, silent where nothing is to be trained on; every hole is."""
    whole = [row if row is not None else stand_in for row in rows]
    return [
        row.silent() if is_silent else row
        for row, is_silent in zip(whole, silent, strict=True)
        if row is not None
    ]


def row_of(trajectory: Trajectory, pictures: Mapping[str, Image.Image]) -> BatchRow:
    """The row of a trajectory that was sampled.

    Raises:
        LostImages: one that it shows did not arrive.
    """
    nodes = read_nodes(trajectory)
    first, *rest = nodes
    return BatchRow(
        prompt=first.token_ids,
        completion=tuple(token for node in rest for token in node.token_ids),
        mask=tuple(value for node in rest for value in node.loss_mask),
        logprobs=tuple(value for node in rest for value in _aligned(node)),
        images=shown_images(trajectory, nodes, pictures),
        features=tuple(use.tokens for node in nodes for use in node.images),
        messages=tuple({"role": node.role, "content": node.text} for node in rest),
    )


def _aligned(node: Node) -> Sequence[float]:
    """A node's log-probabilities, one for each token: 0 where nothing was sampled."""
    return node.logprobs if node.role == "assistant" else (0.0,) * len(node.token_ids)


def as_trl(rows: Sequence[BatchRow], extra: Mapping[str, Any]) -> tuple[Any, ...]:
    """What `GRPOTrainer._generate` returns.

    The images of all turns are given as tools' images, so that TRL encodes them together from the
    pictures themselves and builds the token types from the ids that were sampled.
    """
    images = [list(row.images) for row in rows]
    return (
        [list(row.prompt) for row in rows],
        [list(row.completion) for row in rows],
        [list(row.mask) for row in rows],
        [list(row.messages) for row in rows],
        [list(row.logprobs) for row in rows],
        dict(extra),
        images if any(images) else None,
        images,
    )


def look(view: int) -> str:
    """A stand-in for TRL's list of tools; it is never called.

    TRL encodes images of later turns only where it knows of at least one tool; the tools that are
    really used belong to the episode.
    """
    return str(view)


def reward_functions(rules: Rules) -> tuple[list[Any], list[float]]:
    """The rubric's terms as TRL's reward functions, and their weights.

    TRL then logs every term by its own name. A trajectory without terms earns None, which takes it
    out of its group's baseline.
    """

    def of(name: str) -> Callable[..., list[float | None]]:
        def term(terms: Sequence[Mapping[str, float] | None], **_: Any) -> list[float | None]:
            return [None if given is None else given[name] for given in terms]

        term.__name__ = name
        return term

    functions = [of(term.name) for term in rules.rubric.terms]
    return functions, [term.weight for term in rules.rubric.terms]


_FIX = "see what drops them between the trajectory and TRL, such as a limit on tokens"


def check_images(
    made: Mapping[str, Any], rows: Sequence[BatchRow], placeholder: int, merge: int
) -> None:
    """Hold what TRL made of a step's images against what was shown.

    TRL drops the images of a whole batch, and says nothing, where it counts other features than
    placeholders in one row.

    Args:
        made: what `_generate_and_score_completions` returned.
        rows: what it was given.
        placeholder: the token that stands for one image feature.
        merge: patches that a grid counts for one feature.

    Raises:
        LostImages: some did not arrive, or features and placeholders disagree.
    """
    shown = sum(len(row.images) for row in rows)
    if not shown:
        return
    given = sum(made["num_images"]) if made.get("num_images") is not None else 0
    if made.get("pixel_values") is None or given != shown:
        raise LostImages(f"{shown} images were shown and {given} reach the model; fix: {_FIX}")
    ids = (made["prompt_ids"], made["completion_ids"])
    held = sum(int((each == placeholder).sum()) for each in ids)
    expected = sum(sum(row.features) for row in rows)
    if "image_grid_thw" in made:
        features = int(made["image_grid_thw"].prod(dim=-1).sum()) // merge
    else:
        features = expected  # the model itself counts them
    if not held == features == expected:
        raise LostImages(
            f"{shown} images were shown as {expected} features; the model is given {features} and "
            f"{held} placeholders; fix: {_FIX}",
        )


def inputs_of(model: Any) -> set[str]:
    """What TRL's forward may be given for a model: of two kinds of token types, those it knows."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = inspect.signature(type(base).forward).parameters
    seam = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    types = {"token_type_ids", "mm_token_type_ids"}
    return {name for name in seam if name not in types or name in known}
