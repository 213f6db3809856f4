"""The Ray cluster that a run plays on: one that is there, or one of its own on this machine.

What is started here is small and quiet, keeps to this user and this machine (see `private`), and is
gone with the run. Ray itself is imported here first, for some of its settings are read when it is
imported.
"""

import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from medgym.errors import RunError, UserError, missing_library
from medgym.failures import reason_of
from medgym.rollout.ray.private import Private, loopback

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints on stdout, where results are read, that a worker died; we count that and tell it.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}.items():
    os.environ.setdefault(_name, _value)
try:
    import ray as ray
except ImportError as error:
    raise missing_library(error) from error

OBJECT_STORE = 200 * 2**20
"""Bytes of shared memory for images in flight, some 200 of 1024 x 1024; more goes to disk."""

CONNECT = 10.0
"""Seconds for an address to answer; Ray itself would try for a quarter of an hour."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that was joined.

    Attributes:
        joined_here: whether that was done here. private: folder and token of one of our own.
        on_sigterm: what the process did at SIGTERM before.
    """

    joined_here: bool
    private: Private | None = None
    on_sigterm: Any = None

    @property
    def is_own(self) -> bool:
        """Whether it was started here."""
        return self.private is not None

    def check(self) -> None:
        """Make sure that the processes of Ray that this process started still run.

        Raises:
            RunError: one is gone. Ray itself would wait for it without end.
        """
        node: Any = ray._private.worker._global_node
        gone = sorted({kind for kind, _ in node.dead_processes()}) if node is not None else []
        if gone:
            raise RunError(
                f"the Ray cluster of this run broke down (its {' and '.join(gone)} ended); fix: "
                "see that there is memory to spare, then run the same command again to resume"
            )

    def leave(self) -> None:
        """Stop what was started, part from what was joined."""
        if self.joined_here and ray.is_initialized():  # it may have ended with the interpreter
            ray.shutdown()
        if self.private is not None:
            self.private.leave()
        _at_sigterm(self.on_sigterm)


def join(address: str | None, *, cpus: int, object_store: int = OBJECT_STORE) -> Cluster:
    """Join the cluster at an address, `auto` for one of this machine; by default, start one.

    A process that has joined one already stays with it.

    Args:
        address: `auto` or HOST:PORT. cpus, object_store: of a cluster that is started here.

    Raises:
        UserError: no cluster answers there, or none can be started.
    """
    if ray.is_initialized():
        return Cluster(joined_here=False)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        _knock(address)
        try:
            ray.init(address=address, **quiet)
        except Exception as error:
            raise _refused(address, error) from error
        return _quiet_at_sigterm(Cluster(joined_here=True, on_sigterm=on_sigterm))
    private = Private()
    try:
        with loopback() as host, _few_processes():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=object_store,
                _node_ip_address=host,
                _temp_dir=str(private.inside),
                **quiet,
            )
        if ray.util.get_node_ip_address() != host:
            raise RuntimeError(f"Ray {ray.__version__} listens beyond this machine")
    except BaseException as error:
        Cluster(joined_here=True, private=private).leave()
        if not isinstance(error, Exception):
            raise
        raise UserError(
            f"cannot start Ray here ({reason_of(error)}); fix: use the back end local"
        ) from error
    return _quiet_at_sigterm(Cluster(joined_here=True, private=private, on_sigterm=on_sigterm))


@contextmanager
def _few_processes() -> Iterator[None]:
    """Start Ray without what a cluster of one machine has no use for: the process that asks for
    more machines, and the one that sends logs to this process, which shows none."""
    module: Any = importlib.import_module("ray._private.parameter")
    params = module.RayParams
    module.RayParams = partial(params, no_monitor=True, include_log_monitor=False)
    try:
        yield
    finally:
        module.RayParams = params


def _refused(address: str, error: Exception) -> UserError:
    """Why a cluster that answers cannot be joined."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if "ersion mismatch" in reason:
        fix = "install the cluster's versions of Ray and Python here"
    else:  # without the right token, Ray only says that it failed to connect
        fix = (
            "check the address, set RAY_AUTH_MODE and RAY_AUTH_TOKEN if the cluster asks for a "
            "token, and start one with: ray start --head"
        )
    return UserError(f"cannot join the Ray cluster {address} ({reason[:300]}); fix: {fix}")


def _quiet_at_sigterm(cluster: Cluster) -> Cluster:
    """Ray's own handler prints a stack trace; here the run ends as it should."""
    ours = cluster.on_sigterm == signal.SIG_DFL
    _at_sigterm((lambda *_: sys.exit(128 + signal.SIGTERM)) if ours else cluster.on_sigterm)
    return cluster


def _at_sigterm(handler: Any) -> None:
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _knock(address: str) -> None:
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal():
        raise UserError(
            f"{address!r} is no address of a Ray cluster; fix: auto or HOST:PORT, on one of its "
            "machines"
        )
    try:
        # Ray turns an address of the loopback into the outward one, and then waits there.
        host = ray._private.services.resolve_ip_for_localhost(host.strip("[]"))
        socket.create_connection((host, int(port)), CONNECT).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({reason_of(error)}); fix: check the address, "
            "and start one with: ray start --head"
        ) from error


def check_room(wanted: Mapping[str, float], what: str) -> None:
    """Hold what is wanted against all that a cluster has, by Ray's names of resources.

    Raises:
        UserError: it can never be had.
    """
    there = ray.cluster_resources()
    for name, amount in wanted.items():
        if amount > there.get(name, 0.0):
            raise UserError(
                f"{what} want {amount:g} {name} of the Ray cluster, which has "
                f"{there.get(name, 0.0):g}; fix: ask for less, or join a larger one"
            )
