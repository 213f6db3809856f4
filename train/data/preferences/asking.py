"""Questions to policies that judge or write for pairs: one message, one reply, retried."""

import asyncio
from collections.abc import Sequence

from medgym.contracts import checked_reply
from medgym.errors import RunError
from medgym.failures import Failure, at
from medgym.messages import Message
from medgym.policy import Policy, Sampling

RETRIES = 2

TOGETHER = 64
"""Questions that wait for a policy at once."""

PAUSE = 1.0
"""Seconds before a question that failed is asked again; twice as many before the next time."""


def replies(policy: Policy, asked: Sequence[Sequence[Message]], sampling: Sampling) -> list[str]:
    """What a policy replies to each conversation, in their order; empty where it refused to.

    Raises:
        RunError: a question failed for good: the machinery did, not the policy.
    """
    return asyncio.run(_replies(policy, asked, sampling))


async def _replies(
    policy: Policy, asked: Sequence[Sequence[Message]], sampling: Sampling
) -> list[str]:
    found: list[str] = []
    for start in range(0, len(asked), TOGETHER):
        part = asked[start : start + TOGETHER]
        for _ in part:
            policy.enter()
        found += await asyncio.gather(*(_reply(policy, each, sampling) for each in part))
    return found


async def _reply(policy: Policy, asked: Sequence[Message], sampling: Sampling) -> str:
    try:
        for attempt in range(RETRIES + 1):
            try:
                with at("policy", policy.spec):
                    return checked_reply(await policy.act(asked, sampling)).text
            except Failure as failure:
                if failure.withheld is not None:
                    return ""  # it is the policy's, and cannot be read
                if failure.final or attempt == RETRIES:
                    raise RunError(
                        f"{policy.spec} did not reply ({failure}); fix: remove the cause and build "
                        "the pairs again"
                    ) from failure
            await asyncio.sleep(PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
    finally:
        policy.leave()
