"""A policy whose replies are kept: what was asked before is answered without asking it again."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from medgym.cases import Case, case_hash
from medgym.consultation.team import Play, Team
from medgym.contracts import checked_reply
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy
from medgym.tool import Tool
from medgym.trajectory import Trajectory

from .key import address_of, identity_of, key_of, tool_versions
from .store import CacheCounts, ReplyStore


class ReplyCache:
    """A cache of replies, for the policies of one evaluation.

    Args:
        folder: where the replies are kept. tools: those that policies may use.
    """

    def __init__(self, folder: Path, tools: Iterable[Tool]) -> None:
        self.store = ReplyStore(folder)
        self._tools: Mapping[str, str] = tool_versions(tools)
        self._identities: dict[tuple[str, str], str] = {}
        self._unasked: set[str] = set()

    async def check(self, policy: Policy) -> None:
        """Make sure that a policy is ready, unless the cache knows what it said of itself: then it
        is not asked before a reply of it is missing.

        Raises:
            UserError: as `Policy.check`.
        """
        address = address_of(policy)
        known = self.store.found(address)
        if known is not None and _believed(policy, known):
            self._unasked.add(policy.spec)
            return
        await policy.check()
        self.store.put_found(address, _said(policy))

    async def require(self, policy: Policy) -> None:
        """Make sure that a policy of which a reply is missing is ready, and still the one whose
        replies are kept.

        Raises:
            UserError: it is not.
        """
        if policy.spec not in self._unasked:
            return
        known = _said(policy)
        await policy.check()
        if _said(policy) != known:
            raise UserError(
                f"{policy.spec} gives replies of another kind than those in {self.store.path}; "
                "fix: name another folder"
            )
        self._unasked.discard(policy.spec)

    def around(self, policy: Policy) -> Policy:
        """The same policy, or the same team, whose replies are kept."""
        return CachedTeam(policy, self) if isinstance(policy, Team) else CachedPolicy(policy, self)

    def identity(self, policy: Policy) -> str:
        """What names a policy in the keys."""
        key = policy.spec, policy.version
        if key not in self._identities:
            self._identities[key] = identity_of(policy, self._tools)
        return self._identities[key]

    def counts(self) -> CacheCounts:
        """How many replies were found, and how many were asked for."""
        return self.store.counts()

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()


@contextmanager
def opened_cache(folder: Path | None, tools: Iterable[Tool]) -> Iterator[ReplyCache | None]:
    """The cache in a folder; None where no folder is named.

    Raises:
        UserError: the folder cannot be used.
    """
    if folder is None:
        yield None
        return
    with closing(ReplyCache(folder, tools)) as cache:
        yield cache


def cached(policy: Policy, cache: ReplyCache | None) -> Policy:
    """The policy whose replies are kept; as it is where no cache is wanted."""
    return policy if cache is None else cache.around(policy)


class CachedPolicy(WrappedPolicy):
    """A policy around another one, whose replies it keeps. A failure is never kept."""

    needs_gold = True  # the case is part of the key, whether the policy sees it or not

    def __init__(self, policy: Policy, cache: ReplyCache) -> None:
        super().__init__(policy)
        self._cache = cache
        self._case = ""

    def for_case(self, case: Case) -> Policy:
        """The player of one case, whose hash is then part of the keys."""
        inner = self.policy.for_case(case) if self.policy.needs_gold else self.policy
        player = CachedPolicy(inner, self._cache)
        player._case = case_hash(case)
        return player

    async def check(self) -> None:
        """See `ReplyCache.check`."""
        await self._cache.check(self.policy)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The reply that was kept, else the one that the policy gives now."""
        key, found = await asyncio.to_thread(self._look_up, conversation, sampling)
        if found is not None:
            return found
        await self._cache.require(self.policy)
        reply = checked_reply(await self.policy.act(conversation, sampling))
        await asyncio.to_thread(self._cache.store.put, key, reply)
        return reply

    def _look_up(
        self, conversation: Sequence[Message], sampling: Sampling
    ) -> tuple[str, Reply | None]:
        identity = self._cache.identity(self.policy)
        key = key_of(identity, self._case, conversation, sampling)
        return key, self._cache.store.get(key)


class CachedTeam(Team, WrappedPolicy):
    """A team, whose roles' replies are kept."""

    def __init__(self, team: Team, cache: ReplyCache) -> None:
        super().__init__(team)
        self._cache = cache

    async def check(self) -> None:
        """See `ReplyCache.check`: of each policy that plays a role."""
        members = self._team.members()
        for member in members:
            await self._cache.check(member)
        if not members:
            await self._team.check()

    @property
    def _team(self) -> Team:
        assert isinstance(self.policy, Team), "only a team is wrapped by this"
        return self.policy

    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play the team's consultation, each part of it by a policy whose replies are kept."""
        return await self._team.consult(case, rules, _Play(play, self._cache), sampling, seed)


def _said(policy: Policy) -> dict[str, Any]:
    """What a policy says of itself once it was asked, and its trajectories record."""
    return {"kind": policy.kind, "vision_token_ids": list(policy.vision_token_ids)}


def _believed(policy: Policy, known: Mapping[str, Any]) -> bool:
    """Whether a policy takes what it said of itself before."""
    try:
        policy.kind, policy.vision_token_ids = known["kind"], tuple(known["vision_token_ids"])
    except (AttributeError, KeyError, TypeError):  # it says so itself, or the entry is damaged
        return _said(policy) == known
    return True


class _Play:
    """Plays the parts of a consultation by policies whose replies are kept."""

    def __init__(self, play: Play, cache: ReplyCache) -> None:
        self._play = play
        self._cache = cache

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
        playing = self._cache.around(policy)
        return await self._play(case, playing, rules, role=role, sampling=sampling, threads=threads)
