"""The command `medgym cases scrub`: a folder of images without what tells whose they are."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError

SHOWN = 20
"""Files that were not written and are printed; the report names all."""


def scrub(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder of the originals. They stay as they are."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    mask_text: Annotated[
        bool,
        typer.Option("--mask-text", help="Find text that is burnt into the pixels, and mask it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """De-identify the images of a folder after DICOM PS3.15, the pixels unchanged.

    Files get numbers for names. The report lies beside the new folder, as OUT.report.json, and
    names the originals: keep it with them. Exit status 1 where an image was refused.

    Example: medgym cases scrub exported --out clean
    """
    from medgym.privacy.scrub import report_path
    from medgym.privacy.scrub import scrub as scrubbed

    report = scrubbed(folder, out, mask_text=mask_text)
    if as_json:
        print_json(report.as_dict())
    else:
        unseen, drawn = report.unseen()
        looked = len(report.written) - unseen
        rows = [
            ("files", f"{len(report.files):,}"),
            ("written", f"{len(report.written):,} to {out}"),
            ("refused", f"{len(report.refused):,}"),
            ("no images", f"{len(report.left_out):,}"),
            *((what, f"{count:,} elements or texts") for what, count in report.totals().items()),
        ]
        if looked:
            rows.append(("burnt-in text", f"{report.boxes:,} boxes masked in {looked:,} files"))
        if unseen:
            hint = "" if report.masked else "; see --mask-text"
            said = f"not looked for in {unseen:,} files, of which {drawn:,} may hold some{hint}"
            rows.append(("burnt-in text", said))
        print_table(rows)
        named = [*report.refused, *report.left_out]
        for each in named[:SHOWN]:
            print(safe_line(f"{each.source}: {each.reason}", None))
        if len(named) > SHOWN:
            print(f"{len(named) - SHOWN} more such files in the report")
        print(f"{report_path(out)} names the originals: keep it with them")
    if report.refused or not report.written:
        failed = report.refused or report.files
        said = f"{len(failed)} of {len(report.files)} files were not written"
        raise RunError(
            f"{said if failed else 'there was no file'}; fix: the report says what is wrong with "
            "each; correct or remove them, and scrub into another folder"
        )
