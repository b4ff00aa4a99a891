"""Servers as children of this process, each on a free port of 127.0.0.1, none of which outlives it."""

import atexit
import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

from . import certificates

HOST = "127.0.0.1"
START_SECONDS = 10
STOP_SECONDS = 10

_running: set[subprocess.Popen] = set()


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """For each name a port that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = {name: stack.enter_context(socket.socket()) for name in names}
        for probe in probes.values():
            probe.bind((HOST, 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


class Kind:
    """A server that can be started any number of times; `{port}` and `{dir}` stand in its command and configuration.

    `ports` are the names of its ports, each of which stands there too; clients go to the first. With `tls` it speaks
    TLS there, with the certificate that lies in the scratch directory.
    """

    def __init__(self, name: str, command: list[str], env: dict[str, str] | None = None, config: str = "",
                 ports: tuple[str, ...] = ("port",), tls: bool = False):
        self.name = name
        self.command = command
        self.env = env or {}
        self.config = config
        self.ports = ports
        self.tls = tls

    def start(self, scratch: pathlib.Path) -> "Server":
        return Server(self, scratch)


class Server:
    """A running server; `with` stops it."""

    def __init__(self, kind: Kind, scratch: pathlib.Path):
        self.kind = kind
        self.ports = free_ports(kind.ports)
        self.address = f"{HOST}:{self.ports[kind.ports[0]]}"
        self.ca = scratch / certificates.CA if kind.tls else None
        self.log = scratch / f"{kind.name}.log"
        names = {"dir": str(scratch), **{name: str(port) for name, port in self.ports.items()}}
        if kind.config:
            (scratch / f"{kind.name}.conf").write_text(_fill(kind.config, names))
        command = [_fill(word, names) for word in kind.command]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                _mortal(command), cwd=scratch, env={**_clean_environment(), **kind.env}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )
        _running.add(self.process)
        self.pid = self.process.pid
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if all(_listens(port) for port in self.ports.values()):
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


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def run_child(command: list[str], seconds: float) -> subprocess.CompletedProcess:
    """Runs a load generator to its end; it is stopped with this process too."""
    process = subprocess.Popen(
        _mortal(command), env=_clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )
    _running.add(process)
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        _stop(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


class Companion:
    """A child that runs beside a load: it says "ready", goes on until `with` ends, and then leaves a line in `last`."""

    def __init__(self, command: list[str], ready_seconds: float):
        self.command = command
        self.last = ""
        self.process = subprocess.Popen(
            _mortal(command), env=_clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        _running.add(self.process)
        heard, _, _ = select.select([self.process.stdout], [], [], ready_seconds)
        if not heard or self.process.stdout.readline().strip() != "ready":
            _stop(self.process)
            raise RuntimeError(f"{' '.join(command)} was not ready within {ready_seconds:g} s")

    def __enter__(self) -> "Companion":
        return self

    def __exit__(self, *_) -> None:
        try:
            self.last = self.process.communicate(timeout=STOP_SECONDS)[0].strip()
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{' '.join(self.command)} does not end") from error
        finally:
            _stop(self.process)


def _clean_environment() -> dict[str, str]:
    """What the machine's user has set for RoomMQ is no part of a measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROOMMQ")}


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
