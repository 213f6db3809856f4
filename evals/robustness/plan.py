"""Which benchmarks a robustness run has: of each set its clean cases, and those of each variant."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medgym.case_spec import write_spec
from medgym.cases import CaseList, case_hash
from medgym.errors import UserError
from medgym.metrics.counterfactual import exchanged
from medgym.suite import Suite

from ..evaluating.benchmark import Benchmark
from ..outcomes.outcome import CaseOutcome
from ..suites.opening import opened
from .changed import SCHEME
from .originals import Originals, originals
from .paraphrases import read_paraphrases
from .source import MARK, VariantCases
from .variants import CLEAN, OTHER_VIEWS, PARAPHRASE, Variant

NAME = "robustness"
"""The name of the suite that a run of all variants is."""


@dataclass(frozen=True)
class VariantSet:
    """A set of cases with its variants.

    Attributes:
        name: of the set in its suite; empty of cases that were named by themselves.
        spec: of the clean cases.
        originals: these cases; they stay open as long as this does.
        variants: those that fit a case, the clean ones first.
        unfit: for each variant how many cases it does not fit.
    """

    name: str
    spec: str
    originals: Originals
    variants: tuple[Variant, ...]
    unfit: Mapping[Variant, int]

    def benchmark(self, variant: Variant) -> str:
        """The name of a variant as a benchmark."""
        return f"{self.name}{MARK}{variant}" if self.name else str(variant)


def variant_sets(
    suite: Suite, variants: Sequence[Variant], limit: int | None, paraphrases: Path | None
) -> list[VariantSet]:
    """The sets of a suite, each with the variants that fit one of its cases.

    Args:
        limit: at most so many cases of each set.
        paraphrases: a file of the user's, for the variant `paraphrase`.

    Raises:
        UserError: data is missing, or none of the variants fits any case.
    """
    given = None if paraphrases is None else read_paraphrases(paraphrases)
    found = opened(suite, lambda spec: (spec, originals(spec, limit)))
    sets = []
    for name, (spec, cases) in found.items():
        fitting = {each: VariantCases(cases, each, given) for each in variants}
        if not any(map(len, fitting.values())):
            raise UserError(
                f"no variant that was asked for fits a case of {spec}; fix: ask for others "
                "(--variants)"
            )
        chosen = (Variant(CLEAN), *(each for each, made in fitting.items() if len(made)))
        unfit = {each: len(made.dropped) for each, made in fitting.items()}
        sets.append(VariantSet(name, spec, cases, chosen, unfit))
    return sets


def suite_of(
    suite: Suite, sets: Sequence[VariantSet], limit: int | None, paraphrases: Path | None
) -> Suite:
    """The suite whose benchmarks are the variants, with the protocol of the given one."""
    benchmarks = {}
    for each in sets:
        for variant in each.variants:
            options = [("of", each.spec), ("by", str(variant))]
            if limit is not None:
                options.append(("limit", str(limit)))
            if paraphrases is not None and variant.name == PARAPHRASE:
                options.append(("paraphrases", str(paraphrases.absolute())))
            benchmarks[each.benchmark(variant)] = write_spec(SCHEME, options, "all")
    return replace(suite, name=NAME, benchmarks=benchmarks, published=())


def with_rules(
    sets: Sequence[VariantSet], benchmarks: Mapping[str, Benchmark]
) -> dict[str, Benchmark]:
    """The benchmarks, all variants of a set by the rules of its clean cases; only where tools show
    another case, the rules say so."""
    found = {}
    for each in sets:
        rules = benchmarks[each.benchmark(Variant(CLEAN))].rules
        for variant in each.variants:
            name = each.benchmark(variant)
            cases = benchmarks[name].cases
            own = exchanged(rules, cases) if variant.name == OTHER_VIEWS else rules
            found[name] = Benchmark(cases, own)
    return found


def judged_sets(sets: Sequence[VariantSet], judged: Collection[str]) -> list[VariantSet]:
    """The sets with those variants that could be judged; one without its clean cases is left out,
    for to these the others are compared."""
    found = []
    for each in sets:
        lost = {variant for variant in each.variants if each.benchmark(variant) not in judged}
        if Variant(CLEAN) not in lost:
            variants = tuple(variant for variant in each.variants if variant not in lost)
            unfit = {v: count for v, count in each.unfit.items() if v not in lost}
            found.append(replace(each, variants=variants, unfit=unfit))
    return found


def check_reference(
    name: str, outcomes: Mapping[str, Sequence[CaseOutcome]], cases: Mapping[str, CaseList]
) -> None:
    """See that a reference run has played these cases, before anything is played.

    Args:
        name: what errors call it.
        outcomes: of the reference, by benchmark.
        cases: of the benchmarks that are compared with it.

    Raises:
        UserError: it lacks a benchmark, or its cases are others.
    """
    for benchmark, wanted in cases.items():
        if benchmark not in outcomes:
            raise UserError(
                f"the reference {name} has no {benchmark}; fix: run medgym robustness for it on "
                "the same cases, variants and severities"
            )
        hashes = {each.case: each.case_hash for each in outcomes[benchmark]}
        for case in wanted:
            if hashes.get(case.id) != case_hash(case):
                raise UserError(
                    f"the reference {name} has not played the case {case.id!r} as it is now; fix: "
                    "run medgym robustness for it on the same cases"
                )
