"""What a suite is: a named set of benchmarks, with the protocol by which they are judged.

A suite is registered in the entry-point group `medgym.suites`, as a function without arguments that
returns a `Suite`. `medgym eval NAME --policy SPEC` runs its benchmarks one by one. Every interval
is over the groups of cases (`Case.group`).
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from medgym.episode import DEFAULT_MAX_TURNS, DEFAULT_TOOLS
from medgym.errors import UserError, unknown
from medgym.failures import calling
from medgym.policy import Sampling


@dataclass(frozen=True)
class PublishedFigure:
    """A share of right answers that somebody has published, by a protocol of their own.

    Attributes:
        name: the model or the method.
        benchmark: that of the suite which it is nearest to.
        value: the share, from 0 to 1.
        source: where it stands; `second-hand` where it was read elsewhere than there.
    """

    name: str
    benchmark: str
    value: float
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise UserError(
                f"{self.value} of {self.name} is no share; fix: write it as one from 0 to 1"
            )


@dataclass(frozen=True)
class Suite:
    """A named set of benchmarks with one protocol.

    Attributes:
        name: the suite's name, as it is registered.
        benchmarks: for each benchmark the spec of its cases: `{"kind": "phantom:test[:200]"}`.
        tools: names of the tools that the policy may use.
        rubric: the name of the rubric that gives the reward.
        max_turns: replies after which an episode is truncated.
        sampling: how replies are sampled; greedy by default.
        judge: the name of the judge.
        source: where the benchmarks and the protocol come from: a paper, a page.
        published: figures to look at beside the suite's own. They are of other protocols (prompts,
            scorers, often other cases), so that only scoring their answers again would compare.
    """

    name: str
    benchmarks: Mapping[str, str]
    tools: tuple[str, ...] = DEFAULT_TOOLS
    rubric: str = "outcome"
    max_turns: int = DEFAULT_MAX_TURNS
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))
    judge: str = "vqa"
    source: str = ""
    published: tuple[PublishedFigure, ...] = ()

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise UserError(f"the suite {self.name!r} has no benchmark; fix: name some")
        for figure in self.published:
            if figure.benchmark not in self.benchmarks:
                raise unknown(f"benchmark of {self.name}", figure.benchmark, self.benchmarks)

    def only(self, names: str) -> "Suite":
        """The same suite with some of its benchmarks, named with commas between them, and with the
        figures that are published of these.

        Raises:
            UserError: it has no benchmark of such a name (the nearest one is named).
        """
        wanted = [name.strip() for name in names.split(",")]
        for name in wanted:
            if name not in self.benchmarks:
                raise unknown(f"benchmark of {self.name}", name, self.benchmarks)
        return replace(
            self,
            benchmarks={n: spec for n, spec in self.benchmarks.items() if n in wanted},
            published=tuple(each for each in self.published if each.benchmark in wanted),
        )


def load_suite(name: str) -> Suite:
    """The suite that is registered as `name`.

    Raises:
        UserError: no suite has that name (the nearest one is named), or what is registered does not
            return a suite.
    """
    from medgym.registry import load

    make = load("suites", name)
    with calling(f"the suite {name!r}"):
        suite = make() if not inspect.signature(make).parameters else None
    if not isinstance(suite, Suite):
        raise UserError(
            f"what medgym.suites has as {name!r} does not return a Suite; fix: return one, or "
            "register a judge in medgym.judges"
        )
    return suite
