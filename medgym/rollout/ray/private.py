"""What keeps a Ray cluster of our own to this user and this machine, and takes it away again.

It listens on the loopback alone. A client has to know its token, which no file holds.
What it writes lies in a folder that no other user can enter. The folder is removed with the run; if
this process is killed by a watcher, and if that is killed too at the next start.
"""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PLACE = Path("/tmp")
"""Not a temporary folder with a long name: the paths of Ray's sockets have to be short."""

PREFIX = "medgym-ray-"
_OWNER = "owner"
_GRACE = 60.0
"""Seconds for which a folder may be new and without a lock yet."""


class Private:
    """A folder and a token for this process alone, from when it is made until `leave`.

    The token is set in the environment, from where all of Ray's processes have it.

    Attributes:
        path: the folder. inside: where in it Ray may write; Ray opens its own folder to all users.
    """

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
        self.inside = self.path / "r"
        self._lock = os.open(self.path / _OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Its standard input ends when the last holder of the other end is gone: this process.
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", Path(__file__).with_name("watcher.py"), self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # a Ctrl-C is not for it
        )
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._before = {name: os.environ.get(name) for name in token}
        os.environ.update(token)
        _read_settings()

    def leave(self) -> None:
        """Put the user's own token back, remove the folder, and end the watcher."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_settings()
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._watcher.wait(5.0)


def _sweep() -> None:
    """Remove what was left by processes that are gone, as after a power cut."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = folder.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < _GRACE:
                continue
            lock = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _read_settings() -> None:
    """Have Ray read its settings once more: it keeps those of its first use."""
    import ray._raylet

    compiled: Any = ray._raylet
    compiled.Config.initialize("")  # first: a thread that still ends may ask for a token by it
    compiled.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def loopback() -> Iterator[str]:
    """The address by which a cluster that is started here listens on the loopback alone.

    Ray turns 127.0.0.1 into the machine's outward address, and then listens on every interface,
    unless it is told that this machine is part of no cluster. Its switch for that is an environment
    variable that it reads when it is imported, and that would hold for every cluster; so it is set
    here for a start.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield "127.0.0.1"
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
