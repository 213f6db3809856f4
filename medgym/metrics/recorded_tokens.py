"""The tokens of recorded episodes, as a model is forced through them, and what each belongs to.

Token ids are never touched: they are those that were sampled or written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image

from medgym.cases import Case
from medgym.local_model import ForcedTokens
from medgym.messages import THOUGHT_TAGS, Calls, parse_action
from medgym.trajectory import InvariantError, Node, Trajectory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["think", "call", "answer", "end", "other"]

KINDS: tuple[Kind, ...] = ("think", "call", "answer", "end", "other")
"""What a sampled token belongs to: a thought, a tool call, the answer after its opening tag, the
end of a reply, or what stands between these. The opening tag of an answer is `other`: there it is
decided whether to answer, and only after it, what to answer."""

_PARTS: tuple[tuple[Kind, str, str], ...] = (
    *(("think", begin, end) for begin, end in THOUGHT_TAGS),
    ("call", "<tool_call>", "</tool_call>"),
    ("call", "<|tool_call>", "<tool_call|>"),  # Gemma 4
    ("answer", "<answer>", "</answer>"),
)
_SPANS = re.compile(
    "|".join(rf"({re.escape(begin)}).*?(?:{re.escape(end)}|\Z)" for _, begin, end in _PARTS),
    re.DOTALL,
)
_WITHIN = "".join(begin + end for begin, end in THOUGHT_TAGS) + '<|tool_call><tool_call|><|"|>'
"""Special tokens that belong to a part, and do not end a reply."""


class LostImages(InvariantError):
    """Images were lost on the way from a tool to the model (invariant 3)."""

    def __init__(self, text: str) -> None:
        super().__init__(3, f"images were lost on the way: {text}")


class ExchangedImages(InvariantError):
    """An image took another's place on the way from a tool to the model (invariant 3)."""

    def __init__(self, text: str) -> None:
        super().__init__(
            3,
            f"images were exchanged on the way: {text}; fix: see what orders or replaces images "
            "between the tool and the model",
        )


@dataclass(frozen=True)
class RecordedTokens(ForcedTokens):
    """A trajectory's tokens and images; `places` are those of the policy's tokens.

    Attributes:
        case: what was played.
        kinds: what each of the policy's tokens belongs to, one for each place.
        logprobs: those that the sampler reported, one for each place; empty in a demonstration.
    """

    case: Case
    kinds: tuple[Kind, ...]
    logprobs: tuple[float, ...]


def recorded_tokens(
    tokenizer: "PreTrainedTokenizerBase",
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
) -> list[RecordedTokens]:
    """The tokens of all trajectories that have some and did not fail.

    Args:
        pictures: the images that they show, by content hash.

    Raises:
        LostImages: an image that one shows is not among the pictures, or its placeholders are not
            those of its images.
    """
    return [
        _recorded(tokenizer, case, trajectory, pictures)
        for case, trajectory in played
        if trajectory.failure is None and trajectory.kind != "text" and not trajectory.branches
    ]


def _recorded(
    tokenizer: "PreTrainedTokenizerBase",
    case: Case,
    trajectory: Trajectory,
    pictures: Mapping[str, Image.Image],
) -> RecordedTokens:
    nodes = read_nodes(trajectory)
    images = shown_images(trajectory, nodes, pictures)
    ids = tuple(token for node in nodes for token in node.token_ids)
    placeholders = ids.count(trajectory.vision_token_ids[0])
    features = sum(use.tokens for node in nodes for use in node.images)
    if placeholders != features:
        raise LostImages(
            f"in {case.id} {placeholders} placeholders stand for {features} image features"
        )
    start = len(nodes[0].token_ids)
    mask = (own for node in nodes[1:] for own in node.loss_mask)
    written = [node for node in nodes if node.role == "assistant"]
    return RecordedTokens(
        ids=ids,
        places=tuple(start + place for place, own in enumerate(mask) if own),
        images=images,
        case=case,
        kinds=tuple(
            kind for node in written for kind in kinds_of(tokenizer, node.token_ids, node.text)
        ),
        logprobs=tuple(value for node in written for value in node.logprobs),
    )


def read_nodes(trajectory: Trajectory) -> tuple[Node, ...]:
    """The nodes from the root to the policy's last reply: no model reads what comes after it."""
    last = max(i for i, node in enumerate(trajectory.nodes) if node.role == "assistant")
    return tuple(trajectory.branch(last))


def shown_images(
    trajectory: Trajectory, nodes: Sequence[Node], pictures: Mapping[str, Image.Image]
) -> tuple[Image.Image, ...]:
    """The images that some nodes of a trajectory show, in their order.

    Raises:
        LostImages: one of them is not among the pictures.
    """
    uses = [use for node in nodes for use in node.images]
    lost = [use for use in uses if use.sha256 not in pictures]
    if lost:
        raise LostImages(
            f"{trajectory.case_id}: {len(uses)} images were shown and {len(lost)} of them did not "
            "reach the trainer",
        )
    return tuple(pictures[use.sha256] for use in uses)


def kinds_of(
    tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], written: str = ""
) -> tuple[Kind, ...]:
    """What each token of one reply belongs to; a token that reaches into a part belongs to it.

    Args:
        written: the reply's text. Where the template opens its thought, the text begins with the
            opening, which is none of the tokens.
    """
    added = tokenizer.added_tokens_decoder.items()
    special = {number for number, t in added if t.special} | set(tokenizer.all_special_ids)
    special -= {number for number, t in added if t.content in _WITHIN}
    # Decoded one by one, so that every character has its token, whatever they are together.
    pieces = [str(tokenizer.decode([token], skip_special_tokens=False)) for token in ids]
    opening = _opening("".join(pieces), written)
    spans: list[tuple[int, int, Kind]] = []
    for found in _SPANS.finditer(opening + "".join(pieces)):
        kind, begin, _ = _PARTS[(found.lastindex or 1) - 1]
        start = found.start() + (len(begin) if kind == "answer" else 0)
        spans.append((start - len(opening), found.end() - len(opening), kind))
    kinds: list[Kind] = []
    at = 0
    for token, piece in zip(ids, pieces, strict=True):
        until = at + len(piece)
        inside = (kind for start, end, kind in spans if start < until and at < end)
        kinds.append("end" if token in special else next(inside, "other"))
        at = until
    return tuple(kinds)


def _opening(sampled: str, written: str) -> str:
    """The tag that the template wrote before a reply's tokens, if it opened a thought."""
    for begin, _ in THOUGHT_TAGS:
        if written.lstrip().startswith(begin) and not sampled.lstrip().startswith(begin):
            return begin
    return ""


def hold_images(played: Sequence[tuple[Case, Trajectory]]) -> None:
    """Insist that every view that a tool made was shown, and became tokens where it was read.

    Raises:
        LostImages: with the case, and what was made and shown.
    """
    for case, trajectory in played:
        if trajectory.failure is not None or trajectory.branches:
            continue
        made = len(case.images) + len(trajectory.looks)
        shown = [use.view for node in trajectory.nodes for use in node.images]
        # Where the budget ended the episode, the views of its last calls are not shown any more.
        called = isinstance(parse_action(trajectory.nodes[-1].text), Calls)
        unread = trajectory.truncated and called and shown == list(range(len(shown)))
        if len(shown) != made and not unread:
            raise LostImages(
                f"in {case.id} {made} views were made and {len(shown)} images shown; fix: see "
                "that the environment's messages carry the views of its tools"
            )
        if trajectory.kind == "text":
            continue
        for node in trajectory.nodes:
            if node.token_ids and any(use.tokens == 0 for use in node.images):
                raise LostImages(
                    f"in {case.id} an image became no tokens; fix: see that the chat template "
                    "writes images where tools show them"
                )
