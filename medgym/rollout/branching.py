"""Episodes that branch: the beginning of one is replayed, and played on by a policy.

A replay asks no policy. The replies are those that were stored, token for token; the tools are
called again on the case's own images. What the environment says and shows must be what it said and
showed then, by its text and by the hash of every image. So a branch is a whole episode, and its
beginning is the other episode's, bit for bit.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from medgym.cases import Case, case_hash
from medgym.consultation.team import Team
from medgym.episode import Episode, Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import Malformed, MalformedKind, Message, Reply, parse_action
from medgym.policy import Policy
from medgym.rollout.record import faults_of
from medgym.trajectory import SEAM, Fork, Kind, Node, Trajectory, validate

ResumeFrom = tuple[Trajectory, int] | Sequence[tuple[Trajectory, int]]
"""An episode and how many of its turns are kept; or several of these, each of another case."""

_CHANGED = "fix: branch it with the rules, the tools and the data that it was played with"


@dataclass(frozen=True)
class Resume:
    """The beginning of an episode, from which others are played on.

    Attributes:
        origin: the episode, as `case_id#member`.
        fork: where it is branched.
        nodes: the question, the replies that are kept, and what the environment replied to each.
        kind, vision_token_ids, faults: of the episode.
    """

    origin: str
    fork: Fork
    nodes: tuple[Node, ...]
    kind: Kind
    vision_token_ids: tuple[int, ...] = ()
    faults: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, trajectory: Trajectory, turn: int) -> "Resume":
        """The beginning of an episode up to what the environment replied to the policy's reply
        number `turn`, counted from 1; with 0 only the question.

        Raises:
            UserError: it failed, it is a consultation, or it was over before.
            InvariantError: it is not what was played.
        """
        origin = f"{trajectory.case_id}#{trajectory.member}"
        if trajectory.failure is not None:
            raise UserError(f"{origin} failed and cannot be branched; fix: choose another episode")
        if trajectory.branches:
            raise UserError(
                f"{origin} is a consultation, which cannot be branched; fix: choose an episode of "
                "one policy"
            )
        kept = 2 * turn + 1
        if turn < 0 or len(trajectory.nodes) < kept:
            last = turns_to_branch(trajectory)
            raise UserError(
                f"{origin} cannot be branched after turn {turn}: the environment replied to "
                f"{last} of its turns; fix: choose a turn from 0 to {last}"
            )
        validate(trajectory)
        nodes = trajectory.nodes[:kept]
        fork = Fork(trajectory.member, turn, kept, prefix_hash(nodes))
        vision, faults = trajectory.vision_token_ids, trajectory.faults
        return cls(origin, fork, nodes, trajectory.kind, vision, faults)

    @property
    def seed_parts(self) -> tuple[object, ...]:
        """What the draws of a branch depend on beside its case and member."""
        return "fork", self.fork.prefix

    def check_policy(self, policy: Policy) -> None:
        """Make sure that the stored replies can be a policy's own.

        Raises:
            UserError: they have no tokens, or those of another tokenizer, or no log-probabilities.
        """
        if policy.kind == "text":
            return
        if self.kind == "text" or (policy.kind == "sampled" and self.kind != "sampled"):
            lacking = "tokens" if self.kind == "text" else "log-probabilities"
            raise UserError(
                f"the replies of {self.origin} have no {lacking}, which {_called(policy)} "
                "continues; fix: branch what a model sampled"
            )
        if policy.vision_token_ids != self.vision_token_ids:
            raise self._other_tokens(_called(policy))

    def _other_tokens(self, policy: str) -> UserError:
        return UserError(
            f"{self.origin} is in other tokens than {policy} reads; fix: branch it with a policy "
            "of the tokenizer and the chat template that it was played with"
        )

    def check_prompt(self, reply: Reply, policy: str) -> None:
        """Make sure that the first reply after the replay was given the stored tokens.

        Raises:
            UserError: the policy has another tokenizer or chat template.
        """
        if reply.prompt_ids is None:
            return
        held = tuple(token for node in self.nodes for token in node.token_ids)
        # What no policy has read yet (the last word of an episode without room) has no tokens.
        whole = len(held) if self.nodes[-1].token_ids else len(reply.prompt_ids)
        if reply.prompt_ids[: len(held)] != held or len(reply.prompt_ids) != whole:
            raise self._other_tokens(policy)

    def replay(self, episode: Episode, kind: Kind) -> int:
        """Play the beginning in a fresh episode; returns the tokens that it has held so far.

        Args:
            kind: of the policy that plays on. One of `text` is shown the replies as text, and only
                one that samples has their log-probabilities.

        Raises:
            UserError: the environment says or shows something else than it did then, or ends the
                episode.
            Failure: a tool failed, or was late.
        """
        self._hold(episode.messages, self.nodes[0], "in the question")
        spent, faults = 0, list(self.faults)
        for turn in range(1, self.fork.turn + 1):
            reply, shown = self._reply(turn, kind), self.nodes[2 * turn]
            reply = replace(reply, malformed=_malformed(reply, shown, faults))
            held = len(reply.prompt_ids or ()) + len(reply.token_ids or ())
            episode.spend(held - spent)
            spent = held
            said = episode.step(reply)
            if said is None:
                raise UserError(
                    f"by these rules {self.origin} is over after turn {turn}; fix: raise "
                    "max_turns, or the token budget"
                )
            played = episode.turns[-1]
            late = [each.call.name for each in played.outcomes if each.fault in ("late", "memory")]
            if late:  # another time it may be in time
                raise Failure("tool", f"{late[0]} was stopped while {self.origin} was replayed")
            tools = ", ".join(dict.fromkeys(each.call.name for each in played.outcomes))
            self._hold([said], shown, f"in what {tools or 'it'} replied to turn {turn}")
            del faults[: len(faults_of(played))]
        return spent

    def _reply(self, turn: int, kind: Kind) -> Reply:
        """The reply of a turn as the policy gave it."""
        node = self.nodes[2 * turn - 1]
        if kind == "text" or self.kind == "text":
            return Reply(node.text)
        before = self.nodes[: 2 * turn - 1]
        return Reply(
            node.text,
            prompt_ids=tuple(token for each in before for token in each.token_ids),
            token_ids=node.token_ids,
            logprobs=node.logprobs if kind == "sampled" else None,
            image_tokens=tuple(use.tokens for each in before for use in each.images),
        )

    def _hold(self, said: Sequence[Message], node: Node, where: str) -> None:
        """Insist that the environment's messages are what a node holds."""
        shown = [part.sha256 for message in said for part in message.images]
        differs = ""
        if SEAM.join(message.text for message in said) != node.text:
            differs = "text"
        elif shown != [use.sha256 for use in node.images]:
            differs = "images"
        if differs:
            late = was_late(self.faults)
            raise UserError(
                f"{self.origin} cannot be replayed: the {differs} {where} differ from those stored"
                f"{' (a tool was late then)' if late else ''}: the rules, a tool or the data "
                f"changed; {_CHANGED}"
            )


def _called(policy: Policy) -> str:
    return policy.spec or type(policy).__name__


def was_late(faults: Iterable[str]) -> bool:
    """Whether a tool was late in an episode, so that it may not be possible to replay it."""
    return any(fault.startswith(("late:", "memory:")) for fault in faults)


def turns_to_branch(trajectory: Trajectory) -> int:
    """The last turn of an episode after which it can be branched; 0 where only its question is."""
    return max(0, (len(trajectory.nodes) - 1) // 2)


def _malformed(reply: Reply, shown: Node, faults: Sequence[str]) -> Malformed | None:
    """What was wrong with a reply that could not be read.

    Its text does not say all of it: whether the token limit cut it, what a model's own form of
    calls expects. What the environment replied does.
    """
    action = parse_action(reply.text)
    if not isinstance(action, Malformed):
        return None
    kind = cast("MalformedKind", faults[0]) if faults else action.kind
    error = shown.text.removeprefix("Error: ").removesuffix(".")
    return Malformed(kind, error, action.think)


def prefix_hash(nodes: Iterable[Node]) -> str:
    """blake2b of what some nodes hold: texts, tokens and images."""
    digest = hashlib.blake2b(digest_size=16)
    for node in nodes:
        images = [use.sha256 for use in node.images]
        line = json.dumps([node.role, node.text, node.token_ids, images])
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def branched(
    given: ResumeFrom, cases: Sequence[Case], policy: Policy, rules: Rules
) -> list[tuple[Case, Resume]]:
    """The cases that `collect` is to play branches of, in their order, and from where on.

    Raises:
        UserError: an episode that cannot be branched, two of one case, a case that is not among
            those given or has changed, other instructions, or a policy that cannot play on.
    """
    if isinstance(policy, Team):
        raise UserError(
            f"{policy.spec or 'a consultation'} cannot play a branch; fix: choose one policy"
        )
    hashes: dict[str, str] = {}
    resumes: dict[str, Resume] = {}
    for trajectory, turn in _pairs(given):
        resume = Resume.of(trajectory, turn)
        if trajectory.case_id in resumes:
            raise UserError(
                f"{trajectory.case_id} is to be branched at two places, whose branches would have "
                "the same numbers; fix: collect them into two runs"
            )
        if turn >= rules.max_turns:
            raise UserError(
                f"{resume.origin} has {turn} turns before its branches, and max_turns is "
                f"{rules.max_turns}; fix: raise max_turns"
            )
        if trajectory.system and trajectory.system != rules.instructions:
            raise UserError(
                f"{resume.origin} was played with other instructions than these rules give; "
                "fix: offer the same tools, with the same coordinates and prompt"
            )
        resume.check_policy(policy)
        resumes[trajectory.case_id], hashes[trajectory.case_id] = resume, trajectory.case_hash
    found: list[tuple[Case, Resume]] = []
    for case in cases if resumes else ():
        if case.id not in hashes:
            continue
        if hashes.pop(case.id) not in ("", case_hash(case)):
            raise UserError(
                f"the case {case.id!r} has changed since it was played; fix: put it back as it was"
            )
        found.append((case, resumes[case.id]))
        if not hashes:
            return found
    if not resumes:
        raise UserError("resume_from names no episode; fix: give (trajectory, turn)")
    raise UserError(
        f"the case {next(iter(hashes))!r} of an episode to branch is not among the cases; fix: "
        "give the cases that it was played from"
    )


def _pairs(given: ResumeFrom) -> Sequence[tuple[Trajectory, int]]:
    if len(given) == 2 and isinstance(given[0], Trajectory):
        return [cast("tuple[Trajectory, int]", given)]
    return cast("Sequence[tuple[Trajectory, int]]", given)


def described(resumes: Sequence[Resume]) -> dict[str, object]:
    """What a run's recipe says of the places at which it branches."""
    places = [f"{each.origin} after turn {each.fork.turn}" for each in resumes]
    digest = hashlib.blake2b(digest_size=16)
    for place, resume in zip(places, resumes, strict=True):
        digest.update(f"{place} {resume.fork.prefix}\n".encode())
    ends = places[0] if len(places) == 1 else f"{len(places)}, {places[0]} to {places[-1]}"
    return {"resume_from": ends, "resume_hash": digest.hexdigest()}
