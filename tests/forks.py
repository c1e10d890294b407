"""Starts `scrapy` as a fork of tests.fork_server, where that is the same as starting it anew."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SERVER = Path(__file__).with_name("fork_server.py")
_ROOT = Path(__file__).parents[1]
_PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2): orphans below this process become its children."""


def start_scrapy(*args: str, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """`python -m scrapy`, with nothing to read, and pipes for what it writes."""
    is_own = cwd != _ROOT or _read_at_start(env) != _server.environment
    start, command = (subprocess.Popen, (sys.executable, "-m", "scrapy", *args)) if is_own else (_Fork, args)
    pipe = subprocess.PIPE
    return start(command, cwd=cwd, env=env, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """What interpreter, loader and libraries look at when they start, so a fork too late; but a PYTHONPATH it heeds."""
    names = [name for name in env if name.startswith(("KRB5", "LC_", "LANG", "LD_", "PYTHON")) and name != "PYTHONPATH"]
    return {name: env[name] for name in names}


class _ForkServer:
    """tests.fork_server, started when it is first asked."""

    def __init__(self) -> None:
        self.environment = _read_at_start(os.environ)
        self._requests: socket.socket | None = None
        self._lock = threading.Lock()

    def fork(self, args: list[str], cwd: str, env: Mapping[str, str], files: tuple[int, int, int]) -> int:
        """The pid of a child of this process that runs the command with those standard input, output and error."""
        with self._lock:
            requests = self._requests = self._requests or self._started()
            _be_subreaper(True)
            try:
                socket.send_fds(requests, [json.dumps([args, cwd, dict(env)]).encode()], files)
                pid = requests.recv(20)
            finally:
                _be_subreaper(False)
            assert pid, "the fork server has ended"
            return int(pid)

    @staticmethod
    def _started() -> socket.socket:
        requests, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen([sys.executable, _SERVER], stdin=its, env=env)
        its.close()
        atexit.register(process.wait)
        atexit.register(requests.close)
        return requests


_server = _ForkServer()


class _Fork(subprocess.Popen[str]):
    """A command that the fork server starts; all but the start, a private method, is subprocess's own."""

    def _execute_child(self, args: Any, *others: Any) -> None:
        _, _, _, _, cwd, env, _, _, _, *pipes = others[:15]
        stdin, _, _, stdout, _, stderr = pipes
        self.pid = _server.fork(list(args), str(cwd), env, (stdin, stdout, stderr))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _be_subreaper(be: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(be), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
