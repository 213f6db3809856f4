"""The command `medgym compare`: whether one evaluation is better than another, and where."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from medgym.commands.printing import WIDTH, percent, print_columns, print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError

from ..comparison import Compared, Pair, compare, differing_kinds
from ..looking.stored import arm_name, arms_of
from ..outcomes.outcome import CaseOutcome
from ..outcomes.stored import outcomes_of, run_and_policy
from ..pooled import compare_pooled, runs_of
from ..pooled_tables import p_value, pooled_as_dict, print_pooled
from ..prompts import refuse_other_prompts
from ..protocol import differing_protocol, episode_address, same_views
from ..statistics.power import cases_needed, smallest_difference

SHOWN = 5
"""Cases of each sort that are listed."""


def compare_runs(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders of runs; of a training also FOLDER:POLICY, of --tools on,off also "
            "FOLDER:off. The others are compared with the first. Runs of one recipe with several "
            "seeds are joined by commas: A0,A1,A2.",
        ),
    ],
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Count answers in any form, and not only in medgym's."),
    ] = False,
    own_prompts: Annotated[
        bool,
        typer.Option("--own-prompts", help="Compare policies of which each has its own prompt."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say by how much one evaluation is better than another, with a paired 95 % interval.

    Example: medgym compare runs/prior runs/oracle
    """
    if len(runs) < 2:
        raise UserError("medgym compare takes two runs or more; fix: name another one")
    seeds = [runs_of(name) for name in runs]
    if not own_prompts:
        for names in seeds[1:]:
            both = (seeds[0][0], names[0])
            refuse_other_prompts(*(run_and_policy(each)[0].asked for each in both))
    if any(len(names) > 1 for names in seeds):
        _compare_seeds(seeds, lenient, as_json)
        return
    first = outcomes_of(runs[0])
    found = {
        name: compare(
            first,
            outcomes_of(name),
            lenient=lenient,
            names=(runs[0], name),
            same_views=same_views(*_both_asked(runs[0], name)),
        )
        for name in runs[1:]
    }
    if as_json:
        print_json(
            {
                "first": runs[0],
                "reading": "lenient" if lenient else "strict",
                "differing_protocol": {name: _protocol(runs[0], name) for name in found},
                "runs": {name: [_plain(each) for each in rows] for name, rows in found.items()},
            }
        )
        return
    for name, rows in found.items():
        _print(runs[0], name, rows, lenient)


def _compare_seeds(recipes: Sequence[Sequence[str]], lenient: bool, as_json: bool) -> None:
    """Compare recipes of which each was run with several seeds."""
    first, *others = recipes
    found = [(names, compare_pooled(first, names, lenient=lenient)) for names in others]
    if as_json:
        print_json(
            {
                "first": list(first),
                "reading": "lenient" if lenient else "strict",
                "recipes": [
                    {"runs": list(names), "benchmarks": [pooled_as_dict(each) for each in rows]}
                    for names, rows in found
                ],
            }
        )
        return
    for names, rows in found:
        print_pooled(first, names, rows, lenient)
        for line in _protocol(first[0], names[0]):
            print(f"the protocol differs in {safe_line(line)}")


def _print(first: str, second: str, rows: Sequence[Compared], lenient: bool) -> None:
    print(f"{safe_line(second)} against {safe_line(first)}" + (", read leniently" * lenient))
    for line in _protocol(first, second):
        print(f"  the protocol differs in {safe_line(line)}")
    several = len(rows) > 1
    headings = (
        "benchmark",
        rows[0].counted,
        "first",
        "second",
        "difference",
        "95 % interval",
        "p",
        "verdict",
    )
    lines = []
    for each in rows:
        gap = each.difference.interval
        lines.append(
            (
                each.benchmark or "all", str(gap.n), percent(each.first.value),
                percent(each.second.value), f"{100 * gap.value:+.1f}",
                f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}", p_value(each.adjusted),
                each.difference.outcome,
            )
        )  # fmt: skip
    print_columns(headings, lines, WIDTH)
    if several:
        print("p is of the permutation test over groups, adjusted over the benchmarks (Holm).")
        print("Each verdict is of one benchmark by itself: chance tells one in 20 apart.")
    else:
        print("p is of the permutation test over groups.")
    for each in rows:
        _print_cases(first, second, each)
    folder = run_and_policy(second)[0].path
    if any(each.gained or each.lost for each in rows) and not (folder / "view").exists():
        print(f"medgym view {shlex.quote(str(folder))} writes the page of these links")


def _print_cases(first: str, second: str, each: Compared) -> None:
    gap = each.difference.interval
    where = f"{each.benchmark}: " if each.benchmark else ""
    if each.left_out:
        print(f"{where}{each.left_out} {each.counted} left out: one of the two could not play them")
    if each.unknown:
        print(
            f"{where}of {each.unknown} {each.counted} it is not known whether both showed the same "
            "images: the views differ, or medgym score has to look first"
        )
    print(
        f"{where}{len(each.gained)} {each.counted} only the second has right, {len(each.lost)} "
        f"only the first; {gap.groups} groups"
    )
    if each.difference.outcome == "tie" and (each.gained or each.lost):
        for line in of_a_tie(each):
            print(f"{where}{line}")
    for kind, value, gained, lost in differing_kinds(each):
        print(f"  {kind.replace('_', ' ')} {safe_line(value, 40)}: {gained} gained, {lost} lost")
    for title, pairs in (("gained", each.gained), ("lost", each.lost)):
        shown = [*islice(pairs, SHOWN)]
        for pair in shown:
            print(f"  {title}  {safe_line(pair[0].case)}: {_answers(pair)}")
        if shown:
            print(f"    {safe_line(viewer_link(second, shown[0][1]))}")


def of_a_tie(each: Compared) -> list[str]:
    """What these cases could have shown, and how many would show what was seen."""
    count = each.difference.interval.n
    lost, gained = len(each.lost) / count, len(each.gained) / count
    smallest = smallest_difference(each.independent, lost + gained)
    said = "none" if smallest is None else f"one of {100 * smallest:.1f} points or more"
    lines = [f"of differences, these {each.counted} show {said} with a chance of 80 %"]
    if lost != gained:
        needed = cases_needed(lost, gained, design_effect=count / each.independent)
        lines.append(
            f"{needed:,} {each.counted} grouped like these would show the one that was seen"
        )
    return lines


def viewer_link(run: str, outcome: CaseOutcome) -> str:
    """The address of an episode in the page that `medgym view` writes."""
    folder, policy = run_and_policy(run)
    inside = arm_name(outcome.benchmark, policy) if policy in arms_of(folder) else policy
    inside = inside or outcome.benchmark
    store = f"judged/{inside}" if inside else "trajectories"
    return f"{folder.path}/{episode_address(store, outcome.case)}"


def _protocol(first: str, second: str) -> list[str]:
    return differing_protocol(*_both_asked(first, second))


def _both_asked(first: str, second: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return run_and_policy(first)[0].asked, run_and_policy(second)[0].asked


def _answers(pair: Pair) -> str:
    said = [
        each.verdict if each.answer is None else f"{each.answer!r} ({each.verdict})"
        for each in pair
    ]
    return safe_line(f"{said[0]} and {said[1]}; gold {pair[0].gold!r}", 200)


def _plain(each: Compared) -> dict[str, Any]:
    def cases(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
        return [
            {"case": a.case, "member": a.member, "gold": a.gold, "first": a.answer,
             "second": b.answer, "verdicts": [a.verdict, b.verdict]}
            for a, b in pairs
        ]  # fmt: skip

    return {
        "benchmark": each.benchmark,
        "first": each.first.as_dict(),
        "second": each.second.as_dict(),
        "difference": each.difference.as_dict(),
        "adjusted": each.adjusted,
        "counted": each.counted,
        "left_out": each.left_out,
        "unknown_images": each.unknown,
        "gained": cases(each.gained),
        "lost": cases(each.lost),
    }
