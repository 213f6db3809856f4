"""Asking a policy to judge: greedily, many requests at once, each only once."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from medgym.consultation.team import Team
from medgym.errors import RunError, UserError
from medgym.failures import Failure, at
from medgym.messages import Reply, Usage
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.rollout.request import named, ready
from medgym.rollout.sync import drive
from medgym.seeds import seed_of

from ..spending import Price, Spending
from .prompt import JudgePrompt
from .replies import JudgeReplies, JudgeRequest

CONCURRENCY = 64
"""Requests in flight."""

MAX_TOKENS = 1024
"""The longest reply of a judge, its thought included."""

FAIL_ABOVE = 0.05
"""Once a greater share of requests has failed, and more than `FEW`, the judge is taken as down."""

FEW = 2


@dataclass
class Asked:
    """What a judge said of some requests.

    Attributes:
        labels: of each request that has one, by its key.
        missing: of each that has none, why: `unparsed`, `failed`, or why the server withheld it.
        calls: how many requests were sent; the other replies were kept from before.
    """

    labels: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    calls: int = 0


class ModelJudge:
    """A policy that judges by a pinned prompt.

    Attributes:
        policy: who judges. prompt: by which prompt. replies: those that it gave before.
        prices: of models; empty where no cost is wanted.
    """

    def __init__(
        self,
        policy: Policy,
        prompt: JudgePrompt,
        replies: JudgeReplies,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self.policy = policy
        self.prompt = prompt
        self.replies = replies
        self.prices = prices or {}
        described = json.dumps(policy.describe(), sort_keys=True, default=str)
        self._name = (prompt.name, prompt.sha256, policy.spec, policy.version, described)

    def key(self, request: JudgeRequest) -> str:
        """What names a request to this judge."""
        return request.key(*self._name)

    def as_dict(self) -> dict[str, str]:
        """Who judged, and by what, as results hold it."""
        found = {"judge": self.policy.spec, "prompt": self.prompt.name}
        if self.policy.version:
            found["version"] = self.policy.version
        return found | {"prompt_sha256": self.prompt.sha256}

    def spent(self, keys: Iterable[str]) -> Spending:
        """What the replies to some requests took, those too that were kept from before. It is apart
        from what the episodes took that are judged."""
        spent = Spending(self.prices, what="replies")
        for key in dict.fromkeys(keys):
            if self.replies.get(key) is not None:
                spent.count(self.policy.spec, self.replies.took(key), by_server=True)
        return spent

    def ask(self, requests: Sequence[JudgeRequest]) -> Asked:
        """Have each request judged that was not judged before; every reply is kept at once.

        Raises:
            UserError: the judge is not there.
            RunError: too many requests failed. The replies so far are kept.
        """
        found = Asked()
        every = {self.key(request): request for request in requests}
        new = {key: each for key, each in every.items() if self.replies.get(key) is None}
        if new:
            self._ask(new, found)
        for key in every:
            reply = self.replies.get(key)
            if reply is None:
                continue
            label = self.prompt.label_of(reply)
            if label is None:
                found.missing[key] = "unparsed"
            else:
                found.labels[key] = label
        return found

    def _ask(self, new: dict[str, JudgeRequest], found: Asked) -> None:
        ready(self.policy)
        why: list[str] = []

        def is_down() -> bool:
            return len(why) > max(FEW, FAIL_ABOVE * len(new))

        spent = Spending(self.prices, what="replies")
        stream = drive(self._replies(new, is_down))
        with progress("judged", len(new)) as advance, closing(stream):  # type: ignore[type-var]
            for key, said in stream:
                found.calls += 1
                if not isinstance(said, Failure):
                    took = _usage(said)
                    self.replies.put(key, said.text, took, **self._facts(new[key]))
                    spent.count(self.policy.spec, took, by_server=True)
                else:
                    found.missing[key] = said.withheld or "failed"
                    if not said.withheld:
                        why.append(said.reason)
                advance(1, **spent.figures())
        if is_down() or len(why) == len(new):
            raise self._down(why)

    def _facts(self, request: JudgeRequest) -> dict[str, str]:
        return {"case": request.case, **self.as_dict()}

    def _down(self, why: Sequence[str]) -> RunError:
        place = self.replies.path
        kept = f"replies so far, which are kept: {len(self.replies)}; " if place is not None else ""
        return RunError(
            f"the judge {self.policy.spec} failed {len(why)} times ({why[0]}); {kept}"
            "fix: remove the cause and run the same command again"
        )

    async def _replies(
        self, new: dict[str, JudgeRequest], is_down: Callable[[], bool]
    ) -> AsyncGenerator[tuple[str, Reply | Failure], None]:
        """Each reply as it comes. Where the judge is down, no more are sent; those in flight, which
        are paid for, are awaited."""
        left: Iterator[tuple[str, JudgeRequest]] = iter(new.items())
        running: set[asyncio.Task[tuple[str, Reply | Failure]]] = set()
        try:
            while True:
                while len(running) < CONCURRENCY and not is_down():
                    following = next(left, None)
                    if following is None:
                        break
                    running.add(asyncio.create_task(self._reply(*following)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _reply(self, key: str, request: JudgeRequest) -> tuple[str, Reply | Failure]:
        sampling = Sampling(0.0, max_tokens=MAX_TOKENS, seed=seed_of("model judge", key))
        name = f"the judge {self.policy.spec}"
        with at("policy", name):
            self.policy.enter()
        try:
            with at("policy", name):
                asked = self.prompt.conversation(request.data)
                reply = await self.policy.act(asked, sampling)
                return key, Failure("policy", "the prompt is too long") if reply.full else reply
        except Failure as failure:
            return key, failure
        finally:
            with at("policy", name):
                self.policy.leave()


def _usage(reply: Reply) -> Usage | None:
    """The tokens of a reply, as the server counted them, else those that it was sampled with."""
    if reply.usage is not None or reply.prompt_ids is None or reply.token_ids is None:
        return reply.usage
    return Usage(len(reply.prompt_ids), len(reply.token_ids))


@contextmanager
def open_judge(spec: str) -> Iterator[Policy]:
    """The policy that is to judge. It is asked whether it can act only before its first request:
    where all replies are kept, its server need not run.

    Raises:
        UserError: the spec names none, it plays with the gold answer, or it is a consultation.
    """
    policy = named(spec, "local")
    try:
        if policy.needs_gold or isinstance(policy, Team):
            why = "knows the gold answer" if policy.needs_gold else "is a consultation"
            raise UserError(
                f"{policy.spec} cannot judge: it {why}; fix: name one model, such as "
                "openai:URL#MODEL"
            )
        policy.text_only = True
        yield policy
    finally:
        policy.close()
