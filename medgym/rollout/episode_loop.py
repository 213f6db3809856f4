"""One attempt at one episode, as a coroutine.

Tools run in threads, off the event loop, so that one slow tool holds up no other episode;
everything that can fail is typed by its boundary, so that the caller can retry it.
"""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from medgym.cases import Case, case_hash
from medgym.consultation.team import Team
from medgym.contracts import checked_reply
from medgym.episode import Episode, Rules
from medgym.errors import UserError
from medgym.failures import Failure, at
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Study
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling
from medgym.rollout.branching import Resume
from medgym.rollout.image_memory import decoded
from medgym.rollout.record import record
from medgym.rollout.view_hashing import Hashing, read
from medgym.seeds import seed_of
from medgym.threads import in_thread
from medgym.trajectory import Trajectory

OnMessages = Callable[[Sequence[Message]], None]
"""What is called with a finished episode's messages, as a store of their images is."""


async def roll_out(
    case: Case,
    policy: Policy,
    rules: Rules,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    member: int = 0,
    role: str = "policy",
    resume: Resume | None = None,
    studies: Awaitable[Sequence[Study | OpenedImage]] | Sequence[Study | OpenedImage] | None = None,
    threads: Executor | None = None,
    on_messages: OnMessages | None = None,
) -> Trajectory:
    """Roll out one episode, or with a team the consultation of one case.

    Args:
        case: the case, with its gold.
        policy: the policy that acts.
        rules: tools, rubric, budgets.
        sampling: how replies are sampled; its seed is replaced by one for each turn.
        seed: the run's seed; with the case's id and `member` it fixes all sampling.
        member: the number of this episode in its group.
        role: the role in a consultation, which the sampling depends on as well.
        resume: the beginning of an episode of this case, from which this one is played on.
        studies: the case's images where they are decoded already, or are being decoded.
        threads: where tools run; by default the event loop's own threads.
        on_messages: receives the conversation when the episode is over.

    Raises:
        Failure: the machinery failed; the episode is lost and may be rolled out again.
    """
    if isinstance(policy, Team):
        if resume is not None:
            raise UserError("a consultation cannot play a branch; fix: choose one policy")
        if isinstance(studies, Awaitable):
            studies = await studies
        part = _Part(seed, member, studies, threads, on_messages)
        drawn = seed_of(seed, case.id, "consultation", member)
        with at("policy", named(policy)):
            whole = await policy.consult(case, rules, part, sampling, drawn)
        return replace(whole, case_hash=case_hash(case))
    drawn = seed_of(seed, case.id, role, member, *(resume.seed_parts if resume else ()))
    with at("policy", named(policy)):
        player = policy.for_case(case) if policy.needs_gold else policy
        policy.enter()
    base = sampling or Sampling()
    hashing = Hashing()
    try:
        if isinstance(studies, Awaitable):
            studies = await studies
        elif studies is None:
            studies = await in_thread(threads, decoded, case)
        with at("environment"):
            episode = rules.begin(case, studies)
        spent = 0
        if resume is not None:
            resume.check_policy(player)
            with at("environment"):
                spent = await in_thread(threads, resume.replay, episode, player.kind)
        with at("environment"):
            pictures = await read(episode.messages[-1], episode.workspace)
        hashing.begin(episode.messages[-1])
        told = False
        while not episode.done:
            turn = replace(
                base, seed=seed_of(drawn, len(episode.turns)), max_context=rules.max_tokens
            )
            with at("policy", named(policy)):
                reply = checked_reply(await player.act(tuple(episode.messages), turn))
            if reply.full:
                await in_thread(threads, _end, episode)
                continue
            if resume is not None and len(episode.turns) == resume.fork.turn:
                resume.check_prompt(reply, named(policy))
            held = len(reply.prompt_ids or ()) + len(reply.token_ids or ())
            episode.spend(held - spent)
            spent = held
            with at("environment"):  # a tool's and a rubric's failures have their type already
                shown = await in_thread(threads, _step, episode, reply, on_messages)
                told = episode.done
                pictures = [] if shown is None else await read(shown, episode.workspace)
            if shown is not None:
                hashing.begin(shown)
        del pictures  # they were held for the policy
        if not told:
            await in_thread(threads, _tell, episode, on_messages)
        await hashing.end()
        with at("policy", named(policy)):
            version, kind, vision = player.version, player.kind, player.vision_token_ids
        with at("environment"):
            return record(
                case,
                episode,
                policy=policy.spec,
                version=version,
                seed=seed,
                member=member,
                kind=kind,
                vision_token_ids=vision,
                fork=resume.fork if resume is not None else None,
            )
    finally:
        hashing.leave()
        with at("policy", named(policy)):
            policy.leave()


@dataclass(frozen=True)
class _Part:
    """Plays the parts of one consultation: `medgym.consultation.team.Play`."""

    seed: int
    member: int
    studies: Sequence[Study | OpenedImage] | None
    threads: Executor | None
    on_messages: OnMessages | None

    async def __call__(
        self,
        case: Case,
        policy: Policy,
        rules: Rules,
        *,
        role: str,
        sampling: Sampling | None,
        threads: Executor | None = None,
    ) -> Trajectory:
        return await roll_out(
            case,
            policy,
            rules,
            sampling=sampling,
            seed=self.seed,
            member=self.member,
            role=role,
            studies=self.studies,
            threads=threads or self.threads,
            on_messages=self.on_messages,
        )


def named(policy: Policy) -> str:
    """What a failure calls a policy: its spec, or its class where that is long or missing."""
    spec: object = policy.spec
    return spec if isinstance(spec, str) and 0 < len(spec) <= 60 else type(policy).__name__


def _step(episode: Episode, reply: Reply, on_messages: OnMessages | None) -> Message | None:
    """Do what a reply asks for; where the episode is over then, hand on its messages."""
    shown = episode.step(reply)
    if episode.done:
        _tell(episode, on_messages)
    return shown


def _tell(episode: Episode, on_messages: OnMessages | None) -> None:
    if on_messages is not None:
        with at("store"):
            on_messages(tuple(episode.messages))


def _end(episode: Episode) -> None:
    """End an episode whose next turn has no room; one without any turn cannot be played at all."""
    if not episode.turns:
        reason = "the question exceeds the token budget; fix: raise it, or show smaller views"
        raise Failure("environment", reason, final=True)
    episode.truncate()
