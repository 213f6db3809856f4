"""What a caller of `collect` asked for: names resolved, wrong arguments refused, and the record.

The record is what a run's folder keeps as its recipe, so that only the same request resumes it.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from medgym.cases import Case, CaseList
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import calling
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout.sync import drive
from medgym.tool_record import specs_of, tool_facts


def policy_of(policy: str | Policy, backend: str) -> Policy:
    """The policy that a spec names, ready to act; a `Policy` as it is.

    Raises:
        UserError: the spec names none, the policy cannot act, or this is no policy.
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, str):
        raise UserError(
            f"the policy is a {type(policy).__name__}; fix: give a spec such as 'scripted:random', "
            "or a medgym.Policy: collect(cases, policy, rules)"
        )
    return ready(named(policy, backend))


def named(spec: str, backend: str) -> Policy:
    """The policy of a spec; with the back end ray, its weights are not loaded in this process."""
    if backend != "ray":
        return load_policy(spec)
    from medgym.rollout.ray.policy import named as without_weights

    return without_weights(spec)


def ready(policy: Policy) -> Policy:
    """The policy, once it has said that it can act: asked before anything is written.

    Raises:
        UserError: it cannot; it is closed then.
    """
    try:
        list(drive(_checked(policy)))
    except BaseException:
        policy.close()
        raise
    return policy


async def _checked(policy: Policy) -> AsyncGenerator[None, None]:
    """A stream of nothing, so that `drive` asks wherever there is an event loop or none."""
    with calling(f"the policy {policy.spec or type(policy).__name__}"):
        await policy.check()
    nothing: tuple[None, ...] = ()
    for each in nothing:
        yield each


def rules_of(rules: Rules | None, cases: CaseList) -> Rules:
    """The rules as they are, by default those of the cases; `UserError` for anything else."""
    if rules is None:
        return Rules.for_cases(cases)
    if not isinstance(rules, Rules):
        raise UserError(
            f"the rules are a {type(rules).__name__}; fix: give medgym.Rules.for_cases(cases, "
            "tools=['zoom']): collect(cases, policy, rules)"
        )
    return rules


def request_of(
    cases: str | Sequence[Case],
    policy: Policy,
    rules: Rules,
    *,
    sampling: Sampling | None,
    group_size: int,
    seed: int,
) -> dict[str, Any]:
    """The request as plain data, by which a run's folder knows it again."""
    sampling = sampling or Sampling()
    spec = cases
    if not isinstance(cases, str):
        ends = f", {cases[0].id} to {cases[-1].id}" if cases else ""
        spec = f"{len(cases)} cases{ends}"
    return {
        "command": "collect",
        "cases": spec,
        "policy": policy.spec,
        "group_size": group_size,
        "tools": specs_of(rules.tools),
        **tool_facts(rules.tools),
        "rubric": rules.rubric.name,
        "weights": {term.name: float(term.weight) for term in rules.rubric.terms},
        "max_turns": rules.max_turns,
        "max_context": rules.max_tokens,
        "view_size": rules.view_size,
        **({"view_multiple": rules.view_multiple} if rules.view_multiple > 1 else {}),
        "coordinates": rules.coordinates,
        "prompt": rules.prompt,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
        **policy.describe(),
    }
