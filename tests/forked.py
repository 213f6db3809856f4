"""Python programs, each in a process of its own, that begin with their libraries imported.

They are forked from a server that has imported these and done nothing else: to start an interpreter
and import them anew takes longer than most commands of the documentation do. What a library says
while it is imported no program would show, so a server of libraries that say anything ends.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import array, gc, importlib, json, os, signal, socket, sys

listener = socket.socket(fileno=int(sys.argv[1]))
for name in sys.argv[2:]:
    importlib.import_module(name)
gc.collect()
gc.freeze()  # what is forked searches only its own for garbage
sys.stdout.flush()
sys.stderr.flush()
if os.fstat(1).st_size:
    sys.exit("a library says something while it is imported")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    connection, _ = listener.accept()
    fds = array.array("i")
    data, passed, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
    for _, _, numbers in passed:
        fds.frombytes(numbers)
    if os.fork() == 0:
        break
    connection.close()
    for fd in fds:
        os.close(fd)
listener.close()
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
while not data.endswith(b"\\n"):
    data += connection.recv(65536)
if begun := os.fork():  # this process tells how the program ended, after whatever it does at exit
    status = os.waitstatus_to_exitcode(os.waitpid(begun, 0)[1])
    connection.sendall(b"%d" % status)
    os._exit(0)
connection.close()
asked = json.loads(data)
moved = [os.dup(fd) for fd in fds]  # above all numbers that they get now
for number, fd in zip(asked["fds"], moved):
    os.dup2(fd, number)
for fd in {*fds, *moved} - {*asked["fds"]}:
    os.close(fd)
os.chdir(asked["folder"])
os.environ.clear()
os.environ.update(asked["environment"])
sys.path[0:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
importlib.invalidate_caches()
sys.argv = asked["words"]
exec(asked["code"], {"__name__": "__main__"})
"""

CLIENT = """#!{python} -IS
import array, json, os, socket, sys

words = ["{name}", *sys.argv[1:]]
fds = [0, 1, 2, *map(int, words[-1:] if {passes} else ())]
asked = dict(words=words, fds=fds, folder=os.getcwd(), environment=dict(os.environ), code={code!r})
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    data = json.dumps(asked).encode() + b"\\n"
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    sent = server.sendmsg([data], rights)
    server.sendall(data[sent:])
    for fd in fds:
        os.close(fd)
    status = int(server.recv(64) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


class Forked:
    """A folder of programs that a server begins."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self._address = folder, address

    def add(self, name: str, code: str, passes: bool = False) -> Path:
        """A program that runs this code; with `passes`, it inherits the file of its last word."""
        path = self.folder / name
        path.write_text(
            CLIENT.format(
                python=sys.executable, name=name, code=code, passes=passes, address=self._address
            )
        )
        path.chmod(0o755)
        return path


@contextmanager
def forked(folder: Path, libraries: Sequence[str]) -> Iterator[Forked]:
    """A server that has these libraries imported."""
    folder.mkdir()
    said = folder / "said"
    with socket.socket(socket.AF_UNIX) as listener, said.open("wb") as stream:
        address = f"\0medgym-{os.getpid()}-{id(listener)}"
        listener.bind(address)
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(listener.fileno()), *libraries],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, pass_fds=[listener.fileno()],
        )  # fmt: skip
    try:
        yield Forked(folder, address)
    finally:
        server.kill()
        server.wait()
        print(said.read_text())
