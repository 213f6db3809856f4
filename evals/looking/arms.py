"""Arms: the ways in which `medgym eval --tools on,off,oracle` plays the same cases.

An arm is a choice of cases and a change of rules. What a policy looks at, and by which tools, is
all in the rules; so an arm of other tools (such as tools that know the gold) is one more entry of
`ARMS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from medgym.cases import Case, CaseList
from medgym.consultation.team import Team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Policy
from medgym.suite import Suite

from ..evaluating.benchmark import Benchmark
from .oracle import shown_regions, with_oracle_looks
from .stored import arm_name

SUITE = "looking"
"""What an evaluation of single cases in several arms is called, in place of a suite."""


@dataclass(frozen=True)
class Arm:
    """One way in which cases are played.

    Attributes:
        about: what it is, in a few words.
        rules: the rules of the arm, from those of the evaluation.
        plays: whether a case can be played in it; None where every case can.
    """

    about: str
    rules: Callable[[Rules], Rules]
    plays: Callable[[Case], bool] | None = None

    def cases(self, cases: CaseList) -> CaseList:
        """Those of the cases that can be played in this arm. Each is made once to find out."""
        return cases if self.plays is None else cases.where(self.plays)


def _as_they_are(rules: Rules) -> Rules:
    return rules


def _without_tools(rules: Rules) -> Rules:
    return replace(rules, tools=())


def _has_regions(case: Case) -> bool:
    return bool(shown_regions(case))


ARMS: Mapping[str, Arm] = {
    "on": Arm("with the tools", _as_they_are),
    "off": Arm("without tools", _without_tools),
    "oracle": Arm("with the tools, and an ideal first look", with_oracle_looks, _has_regions),
}


def arms_in(tools: str | None, no_tools: bool) -> tuple[str, ...]:
    """The arms that `--tools` names; none where it names tools.

    Raises:
        UserError: it names both, an arm twice, no other arm beside `on`, or stands beside
            `--no-tools`.
    """
    names = [] if tools is None else [name.strip() for name in tools.split(",")]
    arms = [name for name in names if name in ARMS]
    if not arms:
        return ()
    wanted = "fix: write on,off or on,oracle or on,off,oracle"
    if len(arms) < len(names):
        other = next(name for name in names if name not in ARMS)
        raise UserError(
            f"--tools {tools} names ways of playing and the tool {other!r}; {wanted}, or only names"
            " of tools"
        )
    if no_tools:
        raise UserError("--tools and --no-tools exclude each other; fix: omit one of them")
    if len(set(arms)) < len(arms) or "on" not in arms or len(arms) < 2:
        raise UserError(f"--tools {tools} compares nothing with the tools on; {wanted}")
    return tuple(name for name in ARMS if name in arms)


def in_arms(
    suite: Suite, benchmarks: Mapping[str, Benchmark], arms: Sequence[str]
) -> tuple[Suite, dict[str, Benchmark]]:
    """An evaluation in several arms, as a suite: each benchmark once in each arm.

    A benchmark of which no case can be played in an arm is left out of that arm.

    Raises:
        UserError: no tools are offered, or an arm has no case at all.
    """
    if not suite.tools:
        raise UserError(
            f"{suite.name or 'this evaluation'} offers no tools to play with or without; fix: "
            "omit --tools"
        )
    found: dict[str, Benchmark] = {}
    specs: dict[str, str] = {}
    for name, benchmark in benchmarks.items():
        for arm in arms:
            cases = ARMS[arm].cases(benchmark.cases)
            if cases:
                made = arm_name(name, arm)
                found[made] = Benchmark(cases, ARMS[arm].rules(benchmark.rules))
                specs[made] = suite.benchmarks[name]
    for arm in arms:
        if not any(arm_name(name, arm) in found for name in benchmarks):
            raise UserError(
                f"no case has a gold region that could be shown, so that --tools {arm} has nothing "
                f"to play; fix: omit {arm}"
            )
    published = tuple(
        replace(figure, benchmark=arm_name(figure.benchmark, "on")) for figure in suite.published
    )
    name = suite.name or SUITE
    return replace(suite, name=name, benchmarks=specs, published=published), found


def refuse_roles(policy: Policy) -> None:
    """`UserError` for a consultation, whose roles have tools of their own."""
    if isinstance(policy, Team):
        raise UserError(
            "the roles of a consultation have their tools in its recipe; fix: name a policy of one "
            "role, or compare two recipes with medgym compare"
        )
