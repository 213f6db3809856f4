"""The command `medgym view`: a run's episodes as a page that any browser opens, without a server.

It writes `view/` into the run's folder: `index.html`, which shows the run's images, one file of
episodes for each store of trajectories, which is read when the store is chosen, and `slices/`, the
slices of volumes. The same command
again replaces the page. A folder of pairs shows each pair side by side.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from jinja2 import Environment, StrictUndefined

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError
from medgym.progress import progress
from medgym.storage.atomic import write_atomic
from medgym.storage.pair_rows import PAIRS, is_pair_folder, read_pair_rows
from medgym.storage.run_folder import RunFolder

from ..viewer.data import PageData, label_of, opened_first, stores_of
from ..viewer.slices import write_slices

PAGE = files("medgym.evals.viewer") / "page"


def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    as_json: AsJson = False,
) -> None:
    """Write a page that shows a run's episodes: images, looks, replies, groups side by side.

    Example: medgym view runs/random
    """
    results = write_page(RunFolder.open(run))
    if as_json:
        print_json(results)
        return
    kept = [
        (name, f"{count} {'pairs' if name == PAIRS else 'episodes'}")
        for name, count in results["stores"].items()
    ]
    print_table([*kept, ("page", results["page"])])


def write_page(folder: RunFolder) -> dict[str, Any]:
    """Write the page of a run; returns its path and the number of episodes of each store.

    Raises:
        UserError: the run has no trajectories, or its folder cannot be written.
    """
    stores = stores_of(folder)
    if not stores:
        raise UserError(
            f"there are no trajectories in {folder.path}; fix: name the folder of a run that has "
            "rolled some out"
        )
    path = folder.path / "view"
    data = PageData(folder)
    counts: dict[str, int] = {}
    if is_pair_folder(path.parent):
        rows = read_pair_rows(path.parent)
        with progress("pairs", len(rows)) as advance:
            shown = data.pairs(advance)
        counts[PAIRS] = len(shown["groups"])
        _write_store(path, 0, PAIRS, shown)
    with progress("episodes", sum(len(store) for store in stores.values())) as advance:
        for name, store in stores.items():
            shown = data.store(store, advance)
            _write_store(path, len(counts), name, shown)
            counts[name] = sum(len(group["episodes"]) for group in shown["groups"])
    with progress("cases with slices", len(data.volumes)) as advance:
        slices = write_slices(data.volumes, path / "slices", _write, advance)
    _write(path / "index.html", _index(folder, data, list(counts), slices))
    return {"page": str(path / "index.html"), "stores": counts}


def _write_store(path: Path, number: int, name: str, shown: Mapping[str, Any]) -> None:
    text = f"loaded({_script(name)}, {_script(shown)});\n"
    _write(path / f"episodes-{number}.js", _bytes(text))


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent} ({error.strerror}); fix: free some disk space, or "
            "copy the run to a folder that you may write to"
        ) from error


def _index(folder: RunFolder, data: PageData, names: list[str], slices: Mapping[str, Any]) -> bytes:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((PAGE / "index.html.j2").read_text("utf-8"))
    page = template.render(
        title=folder.path.resolve().name,
        facts=data.facts(),
        stores=_script(names),
        first=_script(opened_first(names)),
        labels=_script({name: label_of(folder, name) for name in names}),
        style=(PAGE / "view.css").read_text("utf-8"),
        slices=_script(slices),
        script="".join((PAGE / name).read_text("utf-8") for name in ("slices.js", "view.js")),
    )
    return _bytes(page)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # names of files may be any bytes


def _script(value: Any) -> str:
    """JSON inside a script element: no text of a policy can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
