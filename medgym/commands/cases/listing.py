"""The command `medgym cases list`: cases in words, or the splits of a source."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from medgym.case_spec import quoted, splits_of
from medgym.cases import LETTERS, Case, open_cases
from medgym.commands.printing import print_json, print_table, safe_line
from medgym.commands.shared_options import AsJson, CasesSpec
from medgym.regions import Region

QUESTION = 4000
"""Characters of a question that are printed."""


def list_cases(
    spec: CasesSpec,
    gold: Annotated[
        bool, typer.Option("--gold", help="Show answers and gold regions too.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List cases, or the splits of a source; `medgym cases CASES` is short for it.

    Example: medgym cases phantom:test[:5] --gold
    """
    splits = splits_of(spec)
    if splits:
        counts = {split: len(open_cases(f"{spec}:{quoted(split)}")) for split in splits}
        if as_json:
            print_json({"splits": counts})
        else:
            print_table(
                [(f"{spec}:{quoted(split)}", f"{n:,} cases") for split, n in counts.items()]
            )
        return
    found = open_cases(spec)
    shown = list(found[:limit])
    if as_json:
        print_json({"count": len(found), "cases": [_plain(case, gold) for case in shown]})
        return
    for case in shown:
        print(f"{safe_line(case.id)}  [{case.answer_type}]")
        print(f"  {safe_line(case.question, QUESTION)}{''.join(_options(case))}")
        if gold:
            right = " or ".join(map(safe_line, case.golds))
            print(f"  gold: {right}{''.join(_regions(case))}")
    rest = f", {len(shown)} of them listed (--limit)" if len(shown) < len(found) else ""
    print(f"{len(found):,} cases{rest}")


def _plain(case: Case, gold: bool) -> dict[str, Any]:
    if not gold:
        return case.model_dump(mode="json", exclude={"answer", "accepted", "regions"})
    # A mask is of no use to a reader of lists, and its runs are long.
    return case.model_dump(mode="json", exclude={"regions": {"__all__": {"mask"}}})


def _options(case: Case) -> Sequence[str]:
    options = zip(LETTERS, case.options, strict=False)
    return [f"  {letter}. {safe_line(text)}" for letter, text in options]


def _regions(case: Case) -> Sequence[str]:
    return [
        f"; {safe_line(r.label)} at {', '.join(f'{v:g}' for v in r.box_px)} px of image {r.image}"
        f"{_place(r)}"
        for r in case.regions
    ]


def _place(region: Region) -> str:
    """On which images of a study a region lies; nothing where there is only one."""
    if region.plane is None or region.index is None:
        return ""
    last = region.index + region.count - 1
    to = f" to {last}" if region.count > 1 else ""
    return f", {safe_line(region.plane)} {region.index}{to}"
