"""What a recipe may not do by itself: write outside `runs/`, or join another machine's cluster."""

from pathlib import Path

from medgym.errors import UserError
from medgym.permissions import check_host

from .schema import Recipe


def run_folder(recipe: Recipe) -> Path:
    """The folder of a run that the command line does not name.

    Raises:
        UserError: that would not be a folder in `runs/`.
    """
    name = recipe.name
    folder = Path("runs") / name
    plain = name not in ("", "..") and Path(name).name == name and name.isprintable()
    if not plain or "\\" in name or folder.is_symlink():
        raise UserError(
            f"the recipe is called {name!r}, which names no folder in runs/; fix: give it a name "
            "without slashes, or choose the folder by --out"
        )
    return folder


def check_outside(recipe: Recipe) -> None:
    """Refuse a Ray cluster on other machines: its workers would get the images and the keys.

    Raises:
        UserError: the user has not permitted its host, or it is no address.
    """
    address = recipe.rollout.ray_address
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal():
        raise UserError(
            f"[rollout] ray_address {address!r} is no address of a Ray cluster; fix: auto or "
            "HOST:PORT, on one of its machines"
        )
    check_host(host.strip("[]").lower(), f"the Ray cluster {address}")
