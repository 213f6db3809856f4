"""From finished episodes to trajectories: one episode's record, and the parts of a consultation."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from medgym.cases import Case, case_hash
from medgym.episode import Episode, Rules, Turn
from medgym.errors import UserError
from medgym.messages import Malformed, Message, Reply, Usage
from medgym.same_images import UnchangedImages, images_at_start
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import (
    SEAM,
    Branch,
    Fork,
    ImageUse,
    InvariantError,
    Kind,
    Look,
    Node,
    Trajectory,
    hash_ids,
    of_case,
)
from medgym.workspace import View, Workspace


def record(
    case: Case,
    episode: Episode,
    *,
    policy: str,
    seed: int,
    member: int,
    kind: Kind,
    version: str = "",
    vision_token_ids: Sequence[int] = (),
    fork: Fork | None = None,
) -> Trajectory:
    """The trajectory of a finished episode.

    Raises:
        InvariantError: a reply's prompt does not continue the tokens before it (invariant 1).
    """
    score = episode.score
    assert score is not None, "only a finished episode has a trajectory"
    used = _usage(episode.messages)
    return Trajectory(
        case_id=case.id,
        policy=policy,
        seed=seed,
        member=member,
        kind=kind,
        nodes=_nodes(episode.messages),
        vision_token_ids=tuple(vision_token_ids),
        answer=episode.answer,
        correct=score.correct,
        reward=score.total,
        terms=dict(score.terms),
        terminated=episode.terminated,
        truncated=episode.truncated,
        looks=looks_of(episode),
        calls=tuple(o.call.name for turn in episode.turns for o in turn.outcomes),
        failed_calls=sum(o.failed for turn in episode.turns for o in turn.outcomes),
        malformed=sum(isinstance(turn.action, Malformed) for turn in episode.turns),
        faults=tuple(fault for turn in episode.turns for fault in faults_of(turn)),
        version=version,
        system=episode.messages[0].text,
        fork=fork,
        prompt_tokens=used.prompt_tokens if used is not None else None,
        completion_tokens=used.completion_tokens if used is not None else None,
        cached_tokens=used.cached_tokens if used is not None else None,
        **of_case(case),
    )


def _usage(messages: Sequence[Message]) -> Usage | None:
    """The tokens of all requests; None where the server did not count those of each."""
    used = [each.reply.usage for each in messages if each.reply is not None]
    known = [usage for usage in used if usage is not None]
    if not known or len(known) < len(used):
        return None
    cached = [usage.cached_tokens for usage in known if usage.cached_tokens is not None]
    return Usage(
        sum(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        sum(cached) if len(cached) == len(known) else None,
    )


class HeldEpisodes:
    """Which episodes of cases a run holds: `(case id, member) in held`. Eight bytes are kept of
    each.

    Args:
        hashes: of the case id and the member of each.
    """

    def __init__(self, hashes: Sequence[int] = ()) -> None:
        self._hashes = np.unique(np.asarray(hashes, np.int64))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, episode: tuple[str, int]) -> bool:
        at = int(np.searchsorted(self._hashes, hash(episode)))
        return at < len(self._hashes) and int(self._hashes[at]) == hash(episode)


def held_episodes(
    run: RunFolder, cases: Iterable[Case], rules: Rules | None = None
) -> HeldEpisodes:
    """The episodes that a run holds already, by case id and member.

    A case that changed since under the same id is refused. Playing it again would leave two
    episodes of one id and member in the run, of which every reader would count both. Trajectories
    of before they carried a hash are not compared.

    Args:
        cases: those that are to be played; they are made in their order until each one that was
            played is found.
        rules: by which they are; None where their images need not be those of before.

    Raises:
        UserError: a case, or an image of it, is not the one of which the run holds an episode; or
            it holds one twice.
    """
    episodes, seeded = array("q"), array("q")
    hashes: dict[int, int] = {}  # of cases, by the hash of their ids
    changed: set[int] = set()
    for each in run.trajectories:
        episodes.append(hash((each.case_id, each.member)))
        seeded.append(hash((each.case_id, each.member, each.seed)))
        case_id, held = hash(each.case_id), hash(each.case_hash)
        if each.case_hash and hashes.setdefault(case_id, held) != held:
            changed.add(case_id)
    if len(np.unique(seeded)) < len(seeded):
        _refuse_twice(run.trajectories)
    images = None if rules is None else UnchangedImages(run, rules)
    newer: dict[str, Case] = {}
    for case in cases if hashes else ():
        now = hashes.pop(hash(case.id), None)
        if now is not None and (hash(case.id) in changed or now != hash(case_hash(case))):
            raise UserError(
                f"the case {case.id!r} has changed since the run played it; fix: put it back as it "
                "was, or play the cases as they are now into a new folder"
            )
        if now is not None and images is not None and images.may_differ(case):
            newer[case.id] = case
        if not hashes:
            break
    for each in run.trajectories if newer else ():
        seen = images_at_start(each) if each.case_hash else {}
        if images is not None and seen and each.case_id in newer:
            images.require(newer.pop(each.case_id), seen)
    return HeldEpisodes(episodes)


def _refuse_twice(trajectories: Iterable[Trajectory]) -> None:
    """Name the first episode that a run holds twice."""
    seen: set[tuple[str, int, int]] = set()
    for each in trajectories:
        key = each.case_id, each.member, each.seed
        if key in seen:
            raise UserError(
                f"the run holds the episode {each.case_id}#{each.member} twice, and both would "
                "count; fix: set one aside with medgym check run RUN --repair"
            )
        seen.add(key)


def looks_of(episode: Episode) -> tuple[Look, ...]:
    """The views that tools made, in order."""
    views = episode.workspace.views
    return tuple(
        Look(
            view.made_by,
            view.image,
            view.box_px,
            _gain(view, episode.workspace),
            **vars(view.place),
        )
        for view in views
        if view.made_by is not None
    )


def joined(parts: Sequence[tuple[str, int, float, Trajectory]], *, policy: str) -> Trajectory:
    """The trajectory of a team: a branch for each part.

    Args:
        parts: role, round, seconds and trajectory of each part. The answer, the reward and all
            other fields of the whole are those of the last part.
        policy: the spec of the team.
    """
    nodes: list[Node] = []
    branches = []
    for role, number, seconds, part in parts:
        first = len(nodes)
        nodes += [replace(n, parent=n.parent + first if n.parent >= 0 else -1) for n in part.nodes]
        leaf = len(nodes) - 1 if part.nodes else -1
        branches.append(Branch(role, leaf, replace(part, nodes=()), number, seconds))
    return replace(parts[-1][3], policy=policy, nodes=tuple(nodes), branches=tuple(branches))


def faults_of(turn: Turn) -> list[str]:
    """What was wrong with a reply and its calls, as trajectories record it."""
    if isinstance(turn.action, Malformed):
        return [turn.action.kind]
    found = []
    for outcome in turn.outcomes:
        if outcome.fault is not None:
            of_tool = outcome.fault in ("late", "memory")
            found.append(f"{outcome.fault}:{outcome.call.name}" if of_tool else outcome.fault)
        elif outcome.as_text:
            found.append(f"text:{outcome.call.name}")
    return found


def _gain(view: View, workspace: Workspace) -> float:
    whole = workspace.views[view.image]
    if view.place.image != whole.place.image:
        whole = workspace.overview(view.image, view.place, None)
    fine, coarse = (
        (v.size[0] * v.size[1]) / ((v.box_px[2] - v.box_px[0]) * (v.box_px[3] - v.box_px[1]))
        for v in (view, whole)
    )
    return math.sqrt(fine / coarse)


def _nodes(messages: Sequence[Message]) -> tuple[Node, ...]:
    nodes: list[Node] = []
    waiting: list[Message] = []
    held: tuple[int, ...] = ()
    counted = 0
    for message in messages:
        if message.reply is None:
            waiting.append(message)
            continue
        # Tokens without the prompt that they continue prove nothing: such a reply is only text.
        reply = message.reply if message.reply.prompt_ids is not None else Reply(message.text)
        given = reply.prompt_ids or ()
        if given[: len(held)] != held:
            raise InvariantError(1, "the prompt does not continue the tokens that were held")
        sizes = reply.image_tokens[counted:]
        nodes.append(_environment_node(len(nodes) - 1, waiting, given[len(held) :], sizes))
        counted += len(sizes)
        nodes.append(_policy_node(len(nodes) - 1, message, reply))
        held = given + (reply.token_ids or ())
        waiting = []
    if waiting and nodes:  # the environment's last word, which no policy read
        nodes.append(_environment_node(len(nodes) - 1, waiting, (), ()))
    return tuple(nodes)


def _environment_node(
    parent: int, messages: Sequence[Message], ids: tuple[int, ...], sizes: tuple[int, ...]
) -> Node:
    parts = [image for message in messages for image in message.images]
    counts = sizes if sizes else (0,) * len(parts)
    if len(counts) != len(parts):
        raise InvariantError(3, f"{len(parts)} images were shown and {len(counts)} were encoded")
    return Node(
        parent=parent,
        role="user" if parent < 0 else "tool",
        text=SEAM.join(message.text for message in messages),
        token_ids=ids,
        loss_mask=(0,) * len(ids),
        images=tuple(
            ImageUse(part.sha256, part.view, count)
            for part, count in zip(parts, counts, strict=True)
        ),
    )


def _policy_node(parent: int, message: Message, reply: Reply) -> Node:
    ids = reply.token_ids or ()
    return Node(
        parent=parent,
        role="assistant",
        text=message.text,
        token_ids=ids,
        loss_mask=(1,) * len(ids),
        logprobs=reply.logprobs or (),
        prompt_hash=hash_ids(reply.prompt_ids) if reply.prompt_ids is not None else "",
    )
