"""Our side, in a process of its own: `medgym eval` through a server, timed.

The command is the one that a user gives. Its policy is wrapped only to note when it is asked and
when it has replied, and the first request is kept for the plain client to send the same.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy

from .peak import peak


class TimedPolicy(WrappedPolicy):
    """A policy that notes when it was asked first, and when it replied first and last."""

    begin = first = last = 0.0
    cpu: tuple[float, float] = (0.0, 0.0)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The reply of the inner policy."""
        if not TimedPolicy.begin:
            TimedPolicy.begin, TimedPolicy.cpu = time.time(), (time.process_time(), 0.0)
        reply = await self.policy.act(conversation, sampling)
        TimedPolicy.last, TimedPolicy.cpu = time.time(), (TimedPolicy.cpu[0], time.process_time())
        TimedPolicy.first = TimedPolicy.first or TimedPolicy.last
        return reply


def main() -> None:
    """In the process that is measured: `FILE CASES POLICY OUT VIEW_SIZE MAX_TOKENS CONCURRENCY`;
    what was measured is written to FILE."""
    file, cases, policy, out, view_size, max_tokens, concurrency = sys.argv[1:]
    from medgym.rollout import request

    vars(request)["load_policy"] = timed
    kept = keep_first_request()
    called = time.time()
    from medgym.cli import main as command

    words = ["eval", cases, "--policy", policy, "--no-tools", "--max-turns", "1"]
    words += ["--view-size", view_size, "--max-tokens", max_tokens, "--concurrency", concurrency]
    status = command([*words, "--out", out, "--json"])
    measured = {
        "called": called,
        "begin": TimedPolicy.begin,
        "first": TimedPolicy.first,
        "last": TimedPolicy.last,
        "end": time.time(),
        "memory": peak(),
        "request": kept,
        "cpu": TimedPolicy.cpu[1] - TimedPolicy.cpu[0],
        "heavy": sorted({"torch", "transformers"} & sys.modules.keys()),
    }
    Path(file).write_text(json.dumps(measured), "utf-8")
    sys.exit(status)


def timed(spec: str) -> Policy:
    """The policy of a spec, timed."""
    return TimedPolicy(load_policy(spec))


def keep_first_request() -> dict[str, Any]:
    """What will hold the URL and the body of the first request for a reply."""
    import aiohttp

    kept: dict[str, Any] = {}
    request = aiohttp.ClientSession.request

    def noting(session: Any, method: str, url: str, *, data: Any = None, **more: Any) -> Any:
        if not kept and TimedPolicy.begin and isinstance(data, bytes):
            kept.update(url=url, body=json.loads(data))
        return request(session, method, url, data=data, **more)

    setattr(aiohttp.ClientSession, "request", noting)  # noqa: B010 - of another type
    return kept


if __name__ == "__main__":
    main()
