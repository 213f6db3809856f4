"""A trajectory: what the sampler saw is what the trainer trains on.

An append-only graph of message nodes. Each node holds only the tokens that it adds; a training
sample is the concatenation from a root to a leaf. A consultation's graph has a branch for each part
that a role played, with a score of its own. `validate` holds the invariants:

1. the concatenation equals, token for token, what the sampler was given and what it sampled;
2. the loss mask is 1 only on sampled tokens, and each of those has a log-probability;
3. image placeholder tokens equal image features, image by image, and no cut runs through an image;
4. no vision token was sampled;
5. a trajectory whose machinery failed carries no reward.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medgym.cases import Case, case_hash
from medgym.errors import RunError
from medgym.imaging.imaging_study import IMAGE
from medgym.imaging.study import Box, Slab, Window
from medgym.messages import MessageRole

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["sampled", "demonstration", "text"]


class InvariantError(RunError):
    """A trajectory that must not be trained on; `invariant` is the number of the broken one."""

    def __init__(self, invariant: int, text: str) -> None:
        super().__init__(f"invariant {invariant}: {text}")
        self.invariant = invariant


@dataclass(frozen=True)
class ImageUse:
    """An image in a message: its content hash, the view that it is, its placeholder tokens."""

    sha256: str
    view: int
    tokens: int = 0


@dataclass(frozen=True)
class Node:
    """What one turn adds.

    Attributes:
        parent: index of the node before it, -1 at the root.
        role: whose turn; `user` at the root covers system and question.
        text: the turn in words.
        token_ids: the tokens that it adds; empty where the policy has no tokens.
        loss_mask: 1 on tokens that the policy sampled (or that a demonstration shows as sampled).
        logprobs: of each sampled token; empty on other nodes and in demonstrations.
        images: the images that it shows, in order.
        prompt_hash: on a sampled node, the hash of all tokens that the sampler was given.
    """

    parent: int
    role: MessageRole
    text: str
    token_ids: tuple[int, ...] = ()
    loss_mask: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    images: tuple[ImageUse, ...] = ()
    prompt_hash: str = ""


@dataclass(frozen=True)
class Look:
    """A view that a tool made.

    Attributes:
        tool, image, box_px: which tool made it, of which image and region (original pixels).
        gain: how many times finer it shows the region than an overview does: the first view, or
            of another plane or index the whole of it as the first view would show it.
        plane, index, slab, window: what it shows of the image. Records leave out what is at its
            default.
    """

    tool: str
    image: int
    box_px: Box
    gain: float = 1.0
    plane: str = IMAGE
    index: int = 0
    slab: Slab | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Branch:
    """One role's part in a consultation.

    Attributes:
        role: whose part, as `triage`, `specialist:radiologist`, `attending`.
        leaf: the index of its last node in the graph, -1 where nothing was played.
        record: the part as a trajectory of its own, without nodes: who played it, what it said
            and earned, or why it failed.
        round: 0 for the first opinions, 1 for those asked for by the attending's first referral.
        seconds: that it took; the one figure that a repetition changes.
    """

    role: str
    leaf: int
    record: "Trajectory"
    round: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Fork:
    """Where an episode was branched off from another one, whose beginning it shares.

    Attributes:
        member: of the other episode, in its group.
        turn: how many of its replies are kept, with what the environment replied to the last one; 0
            where only the question is.
        nodes: how many nodes at the start are therefore the other episode's: 2 * turn + 1.
        prefix: the hash of these nodes; branches of one place have the same.
    """

    member: int
    turn: int
    nodes: int
    prefix: str


@dataclass(frozen=True)
class Trajectory:
    """One played episode, or one consultation, as it is stored and trained on.

    Attributes:
        case_id, policy, seed, member: what was played, by whom, with which draw.
        kind: `sampled` by a model, a `demonstration` in a model's tokens, or only `text`.
        version: of the adapter that played, empty without one.
        nodes: the message graph; `branch(leaf)` walks it.
        vision_token_ids: the model's vision tokens, the image placeholder first.
        answer, correct, reward, terms: how it ended; reward None where the machinery failed.
        looks, calls, malformed: what it looked at, calls by tool, replies that could not be read.
        faults: what was wrong with replies that could not be read (`Malformed.kind`) and calls that
            were refused (`ToolOutcome.fault`), in order; `late:TOOL` and `memory:TOOL` for a call
            that passed its tool's limits; `text:TOOL` for one that was carried out although
            numbers in it were written as texts.
        failure: why the machinery failed, None where it did not.
        branches: the parts of a consultation, in the order in which they were rolled out; the other
            fields are then those of the part that decided, the last one. Empty for one policy.
        system: the instructions with which the text of the first node begins.
        question, options, gold: of the case: what was asked, and the right answer. They are there
            for readers of a run; no policy sees a trajectory. Runs of before these columns
            existed leave them empty, and `content` does not count them.
        case_hash: the hash of the case that was played, of a consultation the case of the whole.
            Runs of before it existed leave it empty, and `content` does not count it.
        prompt_tokens, completion_tokens: tokens of all its requests, as a server counts them; None
            where it does not say. Each request reads the conversation again. `content` does not
            count them.
        cached_tokens: those of `prompt_tokens` that the server had read before; None where it does
            not say. `content` does not count them.
        fork: where it was branched off from another episode; None for one that was played whole.
    """

    case_id: str
    policy: str
    seed: int
    member: int
    kind: Kind
    nodes: tuple[Node, ...]
    vision_token_ids: tuple[int, ...] = ()
    answer: str | None = None
    correct: bool = False
    reward: float | None = None
    terms: Mapping[str, float] | None = None
    terminated: bool = False
    truncated: bool = False
    looks: tuple[Look, ...] = ()
    calls: tuple[str, ...] = ()
    failed_calls: int = 0
    malformed: int = 0
    faults: tuple[str, ...] = ()
    failure: str | None = None
    version: str = ""
    branches: tuple[Branch, ...] = ()
    system: str = ""
    question: str = ""
    options: tuple[str, ...] = ()
    gold: str | None = None
    case_hash: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    fork: Fork | None = None

    def branch(self, leaf: int = -1) -> tuple[Node, ...]:
        """The nodes from the root to a leaf (by default the last node)."""
        index = leaf % len(self.nodes) if self.nodes else -1
        path = []
        while index >= 0:
            path.append(self.nodes[index])
            index = self.nodes[index].parent
        return tuple(reversed(path))

    def part(self, branch: Branch) -> "Trajectory":
        """What one role played, as a trajectory of its own: the training sample of its role."""
        nodes = self.branch(branch.leaf) if branch.leaf >= 0 else ()
        chained = (replace(node, parent=place - 1) for place, node in enumerate(nodes))
        return replace(branch.record, nodes=tuple(chained))

    def parts(self) -> tuple[tuple[str, "Trajectory"], ...]:
        """The (role, part) pairs of a consultation; of a single policy, itself as `policy`."""
        if not self.branches:
            return (("policy", self),)
        return tuple((branch.role, self.part(branch)) for branch in self.branches)

    def messages(
        self, images: "Callable[[str], Image.Image] | None" = None
    ) -> list[dict[str, Any]]:
        """The conversation up to the last reply, as `{"role": ..., "content": [...]}` messages.

        What the environment said is a `user` message, tool results included: chat templates, and
        TRL where it counts images, accept images there only. Images stand before the text. Of a
        consultation these are the messages of the part that decided; see `parts` for the others.

        Args:
            images: gives the image of a hash, as `RunFolder.images.get` does. Each image part is
                then `{"type": "image", "image": ...}`, without it `{"type": "image"}`.
        """
        path = list(self.branch())
        while path and path[-1].role != "assistant":  # the last word, which no policy read
            path.pop()
        chat: list[dict[str, Any]] = []
        head = self.system + SEAM
        for place, node in enumerate(path):
            text = node.text
            if place == 0 and self.system and text.startswith(head):
                chat.append(_chat("system", self.system, ()))
                text = text.removeprefix(head)
            shown = [{"image": images(use.sha256)} if images else {} for use in node.images]
            chat.append(_chat("assistant" if node.role == "assistant" else "user", text, shown))
        return chat

    @property
    def image_hashes(self) -> tuple[str, ...]:
        """The images of `messages`, by content hash, in order."""
        path = self.branch()
        last = max((i for i, node in enumerate(path) if node.role == "assistant"), default=-1)
        return tuple(use.sha256 for node in path[: last + 1] for use in node.images)

    @property
    def turns(self) -> int:
        """Replies of the policy, of a consultation those of all roles."""
        return sum(node.role == "assistant" for node in self.nodes)

    @property
    def tokens(self) -> int:
        """Tokens that were read and written, of a consultation by all roles.

        Each counts once, however often a later turn repeats it; a policy without tokens has none.
        """
        return sum(len(node.token_ids) for node in self.nodes)


SEAM = "\n\n"
"""Between the texts of messages that one node holds, as those of system and question."""


def _chat(role: str, text: str, images: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    content = [{"type": "image", **image} for image in images]
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def hash_ids(ids: Sequence[int]) -> str:
    """blake2b of token ids."""
    return hashlib.blake2b(np.asarray(ids, "<u4").tobytes(), digest_size=16).hexdigest()


def failed_trajectory(
    case: Case, *, policy: str, seed: int, member: int, failure: str
) -> Trajectory:
    """What stands for an episode that the machinery could not play: no turns and no reward."""
    return Trajectory(
        case_id=case.id,
        policy=policy,
        seed=seed,
        member=member,
        kind="text",
        nodes=(),
        failure=failure,
        **of_case(case),
    )


def of_case(case: Case) -> dict[str, Any]:
    """The fields of a trajectory that come from its case and from nothing that was played."""
    return {
        "question": case.question,
        "options": case.options,
        "gold": case.answer,
        "case_hash": case_hash(case),
    }


def validate(trajectory: Trajectory) -> None:
    """Hold the invariants of this module over every branch of a trajectory.

    Raises:
        InvariantError: with the number of the invariant that is broken, and where.
    """
    if trajectory.failure is not None and trajectory.reward is not None:
        raise InvariantError(5, f"{trajectory.case_id} failed and carries a reward")
    if trajectory.branches:
        _validate_branches(trajectory)
        return
    if trajectory.kind == "text":
        return
    vision = set(trajectory.vision_token_ids)
    for index, node in enumerate(trajectory.nodes):
        where = f"{trajectory.case_id}, node {index}"
        if not -1 <= node.parent < index:
            raise InvariantError(1, f"{where}: its parent comes after it")
        _validate_mask(node, where, trajectory.kind)
        drawn = vision.intersection(node.token_ids) if node.role == "assistant" else ()
        if drawn:
            raise InvariantError(4, f"{where}: the vision token {min(drawn)} was sampled")
        _validate_images(node, where, trajectory.vision_token_ids)
        if node.role == "assistant":
            above = trajectory.branch(node.parent) if node.parent >= 0 else ()
            if hash_ids([i for n in above for i in n.token_ids]) != node.prompt_hash:
                raise InvariantError(1, f"{where}: the sampler was given other tokens")


def _validate_branches(trajectory: Trajectory) -> None:
    """Every part by itself; together they are the whole graph, and no node is in two of them."""
    last = -1
    for branch in trajectory.branches:
        part = trajectory.part(branch)
        if branch.leaf >= 0:
            if branch.leaf - last != len(part.nodes):
                raise InvariantError(1, f"{trajectory.case_id}: the branches are not the graph")
            last = branch.leaf
        validate(part)
    if last != len(trajectory.nodes) - 1:
        raise InvariantError(1, f"{trajectory.case_id}: a node belongs to no branch")


def _validate_mask(node: Node, where: str, kind: Kind) -> None:
    sampled = node.role == "assistant"
    if node.loss_mask != ((1 if sampled else 0),) * len(node.token_ids):
        raise InvariantError(2, f"{where}: the loss mask is not 1 on exactly the sampled tokens")
    expected = len(node.token_ids) if sampled and kind == "sampled" else 0
    if len(node.logprobs) != expected:
        raise InvariantError(
            2, f"{where}: {len(node.logprobs)} log-probabilities, expected {expected}"
        )
    if not all(math.isfinite(value) and value <= 1e-6 for value in node.logprobs):
        raise InvariantError(2, f"{where}: a log-probability is not finite and at most 0")


def _validate_images(node: Node, where: str, vision_token_ids: Sequence[int]) -> None:
    if not vision_token_ids:
        if node.images:
            raise InvariantError(3, f"{where}: images, but no placeholder token is known")
        return
    runs, length = [], 0
    for token in (*node.token_ids, None):
        if token == vision_token_ids[0]:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    sizes = [image.tokens for image in node.images] if node.token_ids else []
    if not all(size > 0 for size in sizes):
        raise InvariantError(3, f"{where}: an image was encoded as nothing")
    for run in runs:
        taken = 0
        while sizes and taken < run:
            taken += sizes.pop(0)
        if taken != run:
            raise InvariantError(3, f"{where}: a run of {run} placeholders fits no image")
    if sizes:
        raise InvariantError(3, f"{where}: an image of {sizes[0]} features has no placeholders")
