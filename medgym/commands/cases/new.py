"""The command `medgym cases new`: from a table of one's own to the spec that names its cases."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medgym.cases import LETTERS
from medgym.commands.printing import print_json, print_table, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError, UserError

if TYPE_CHECKING:
    from medgym.sources.own.first_check import FirstCheck, SplitCheck

MOST = 5
"""Rows and files of each kind that are listed."""

TELLS = {
    "text": "the text of an option",
    "letter": "the letter of an option (gold=letter)",
    "index": "the number of an option, from 0 on (gold=index)",
}


def new(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="A CSV, TSV, .jsonl, JSON or Parquet file.")
    ],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="What a guess gets wrong, such as answer=Diagnosis or images=scans.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a table of your own: what each column is taken for, which rows make no case, which
    images are missing, and the spec by which every other command takes it.

    Exit status 1 where no row makes a case.

    Example: medgym cases new questions.csv answer=Diagnosis
    """
    from medgym.sources.own.first_check import first_check

    found = first_check(path, _pairs(options or ()))
    if as_json:
        print_json(_plain(found))
    else:
        _print(path, found)
    if not any(split.cases for split in found.splits.values()):
        raise RunError(next(split.error for split in found.splits.values()))


def _pairs(options: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for key, _, value in pairs:
        if not key or not value:
            raise UserError(f"{key!r} has no value; fix: write KEY=VALUE, such as answer=Diagnosis")
    return {key: value for key, _, value in pairs}


def _plain(found: "FirstCheck") -> dict[str, Any]:
    plain = asdict(found)
    for split in plain["splits"].values():
        del split["first"]
    return plain


def _print(path: str, found: "FirstCheck") -> None:
    from medgym.sources.own.delimited import DELIMITERS

    cells = f", cells between {DELIMITERS[found.delimiter]}s" if found.delimiter else ""
    print(safe_line(f"{path}: {found.rows:,} rows{cells}"))
    rows = [(kind, " + ".join(names)) for kind, names in found.columns.items()]
    if found.gold is not None:
        rows = [(k, f"{v}: {TELLS[found.gold]}" if k == "answer" else v) for k, v in rows]
    if found.unused:
        rows.append(("not used", ", ".join(found.unused)))
    print_table(rows)
    for name, split in found.splits.items():
        _print_split(name, split)
    first = next((each.first for each in found.splits.values() if each.first is not None), None)
    if first is None:
        return
    print("\nThe first case:")
    print(f"  {safe_line(first.id)}  [{first.answer_type}]")
    print(f"  {safe_line(first.question)}")
    for letter, option in zip(LETTERS, first.options, strict=False):
        print(f"  {letter}. {safe_line(option)}")
    print(f"  gold: {safe_line(first.answer)}")
    print(f"  its first image: {safe_line(found.shown)}")
    specs = [split.spec for split in found.splits.values() if split.cases]
    print("\nIts cases are named:")
    for spec in specs:
        print(f"  {safe_line(spec, None)}")
    test = found.splits.get("test")
    asked = test.spec if test is not None and test.cases else specs[-1]
    quoted = safe_line(shlex.quote(asked), None)
    print("\nNext:")
    print(f"  medgym cases show {quoted} --gold --out cases.png")
    print(f"  medgym eval {quoted} --policy scripted:prior")


def _print_split(name: str, split: "SplitCheck") -> None:
    from medgym.sources.own.first_check import beside

    if split.error:
        print(f"\n{safe_line(name)}: {safe_line(split.error, None)}")
        return
    cases = "1 case" if split.cases == 1 else f"{split.cases:,} cases"
    print(f"\n{safe_line(name)}: {cases} of {split.rows:,} rows")
    for place, reason in split.dropped[:MOST]:
        print(f"  {safe_line(place)}: {safe_line(reason)}")
    if len(split.dropped) > MOST:
        print(f"  and {len(split.dropped) - MOST:,} more rows without a case")
    if not split.lost:
        return
    print(f"  {len(split.lost):,} of {split.images:,} images are not there:")
    for lost in split.lost[:MOST]:
        other = beside(lost)
        print(f"  {safe_line(lost)}{safe_line(f' (there is {other})') if other else ''}")
    if len(split.lost) == split.images > 1:
        print("  fix: name the folder that holds them, such as images=scans")
