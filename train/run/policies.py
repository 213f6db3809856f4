"""Policies that a recipe names are looked for before anything is written."""

import asyncio

from medgym.policy import load_policy, read_spec


def check_policy(spec: str) -> None:
    """Make sure that a recipe's policy can be loaded and is ready.

    A model is loaded when its turn comes.

    Raises:
        UserError: an unknown policy or option, a missing model or adapter, an endpoint that is
            down, ...
    """
    kind, rest, adapter = read_spec(spec)
    kind.require_library()
    if kind.local_model is True:
        kind.check_spec(rest, adapter)
        return
    policy = load_policy(spec, by_recipe=True)
    try:
        asyncio.run(policy.check())
    finally:
        policy.close()
