"""The benchmarks of an evaluation, opened: the cases of each, and the rules by which they are
played."""

from dataclasses import dataclass, replace

from medgym.cases import CaseList
from medgym.commands.shared_options import cases_and_rules
from medgym.episode import Rules
from medgym.suite import Suite

from ..prompts import prompted
from ..suites.opening import opened


@dataclass(frozen=True)
class Benchmark:
    """Cases, and the rules by which they are played."""

    cases: CaseList
    rules: Rules

    def limited(self, limit: int | None) -> "Benchmark":
        """The first cases of it."""
        return self if limit is None else replace(self, cases=self.cases[:limit])

    def told(self, prompt: str) -> "Benchmark":
        """The same with a prompt before the instructions."""
        return replace(self, rules=prompted(self.rules, prompt)) if prompt else self


def open_benchmarks(
    suite: Suite,
    *,
    view_size: int | None = None,
    view_multiple: int = 1,
    limit: int | None = None,
    prompt: str = "",
) -> dict[str, Benchmark]:
    """The benchmarks of a suite by name, opened; nothing is played yet.

    Args:
        view_size, view_multiple: as in `Rules`; by default the size that each source asks for.
        limit: at most so many cases of each.
        prompt: words that stand before the instructions.

    Raises:
        UserError: data is missing, or a case cannot be scored.
    """
    benchmarks = opened(
        suite,
        lambda spec: Benchmark(
            *cases_and_rules(
                spec, tools=suite.tools, rubric=suite.rubric, max_turns=suite.max_turns,
                view_size=view_size, view_multiple=view_multiple,
            )
        ).limited(limit).told(prompt),
    )  # fmt: skip
    for benchmark in benchmarks.values():
        if not benchmark.cases.all_gold:
            for _ in benchmark.cases:  # one that cannot be scored is named before any is played
                pass
    return benchmarks
