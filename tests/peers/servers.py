"""Servers as children of this process, each on a free port of 127.0.0.1, none of which outlives it."""

import atexit
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

HOST = "127.0.0.1"
START_SECONDS = 10
STOP_SECONDS = 10

_running: set[subprocess.Popen] = set()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Kind:
    """A server that can be started any number of times; `{port}` and `{dir}` stand in its command."""

    def __init__(self, name: str, command: list[str], env: dict[str, str] | None = None, config: str = ""):
        self.name = name
        self.command = command
        self.env = env or {}
        self.config = config

    def start(self, scratch: pathlib.Path) -> "Server":
        return Server(self, scratch)


class Server:
    """A running server; `with` stops it."""

    def __init__(self, kind: Kind, scratch: pathlib.Path):
        self.kind = kind
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self.log = scratch / f"{kind.name}.log"
        names = {"port": str(self.port), "dir": str(scratch)}
        if kind.config:
            (scratch / f"{kind.name}.conf").write_text(_fill(kind.config, names))
        command = [_fill(word, names) for word in kind.command]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ROOMMQ")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                _mortal(command), cwd=scratch, env={**env, **kind.env}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )
        _running.add(self.process)
        self.pid = self.process.pid
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.kind.name} did not listen on {self.address}:\n{tail}")

    def stop(self) -> None:
        _stop(self.process)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def run_child(command: list[str], seconds: float) -> subprocess.CompletedProcess:
    """Runs a load generator to its end; it is stopped with this process too."""
    process = subprocess.Popen(
        _mortal(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _running.add(process)
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        _stop(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _mortal(command: list[str]) -> list[str]:
    """The same command, which dies with this script even where the script is killed (util-linux; same pid)."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command] if shutil.which("setpriv") else command


def _fill(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _running.discard(process)


def _stop_all() -> None:
    for process in list(_running):
        _stop(process)


atexit.register(_stop_all)
for _signal in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(_signal, lambda number, _frame: sys.exit(128 + number))
