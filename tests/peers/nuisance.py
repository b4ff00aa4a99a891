"""Peers that mean no good, as a process of their own: `python3 nuisance.py KIND --port PORT …`.

They connect in a steady stream over --ramp seconds, print "ready" when all of them stand, and from then on replace each one
that the server closes. At the end of stdin they print one JSON object about what happened. The process is idle-scheduled:
those who attack a server do not run on its processors.
"""

import argparse
import collections
import errno
import itertools
import json
import os
import resource
import selectors
import socket
import ssl
import sys
import threading
import time

HOST = "127.0.0.1"
# Connects that are under way at once.
PENDING = 256


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _packet(first: int, length: int) -> bytes:
    out = bytes([first])
    while True:
        length, low = divmod(length, 128)
        out += bytes([low | (0x80 if length else 0)])
        if not length:
            return out


# A CONNECT whose client id goes on and on, and one that is whole.
ENDLESS_CONNECT = _packet(0x10, 60_012) + _text(b"MQTT") + bytes([4, 2, 0, 60]) + (60_000).to_bytes(2, "big")


def connect(name: bytes) -> bytes:
    body = _text(b"MQTT") + bytes([4, 2, 0, 60]) + _text(name)
    return _packet(0x10, len(body)) + body


def client_hello() -> bytes:
    """The first bytes of a handshake as a client really sends them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Peer:
    """What it says at once, and whether a byte a second after that."""

    def __init__(self, first: bytes = b"", drips: bool = False):
        self.first = first
        self.drips = drips


def half_open():
    while True:
        yield Peer()
        yield Peer(connect(b"half-open")[:7])


def slow_loris():
    """In the middle of a CONNECT, and in the middle of a PUBLISH after a good CONNECT."""
    publish = _packet(0x30, 60_000) + _text(b"t")
    for number in itertools.count():
        yield Peer(ENDLESS_CONNECT, drips=True)
        yield Peer(connect(b"loris-%d" % number) + publish, drips=True)


def tls():
    """Silent, in the middle of a ClientHello, and after a whole one, to which the server has answered."""
    hello = client_hello()
    while True:
        yield Peer()
        yield Peer(hello[: len(hello) // 2])
        yield Peer(hello)


def websocket():
    """In the middle of the request, and before the end of the headers."""
    start = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n"
    while True:
        yield Peer(start[:20])
        yield Peer(start + b"Upgrade: websocket\r\nConnection: Upgrade\r\nX-Slow: ")


KINDS = {"half-open": half_open, "slow-loris": slow_loris, "tls": tls, "websocket": websocket}


class Crowd:
    """Keeps `count` peers of a kind connected."""

    def __init__(self, kind: str, port: int, count: int):
        self.port, self.count = port, count
        self.selector = selectors.DefaultSelector()
        self.missing = collections.deque(itertools.islice(KINDS[kind](), count))
        self.pending: set[socket.socket] = set()
        self.standing: dict[socket.socket, Peer] = {}
        self.dripping: collections.deque[tuple[float, socket.socket]] = collections.deque()
        self.opened = self.closed = self.failed = 0

    def open_some(self, most: int) -> None:
        for _ in range(min(most, len(self.missing), PENDING - len(self.pending))):
            peer = self.missing.popleft()
            sock = socket.socket()
            sock.setblocking(False)
            code = sock.connect_ex((HOST, self.port))
            if code not in (0, errno.EINPROGRESS):
                sock.close()
                self.failed += 1
                self.missing.append(peer)
                return
            self.pending.add(sock)
            self.selector.register(sock, selectors.EVENT_WRITE, peer)

    def turn(self, wait: float) -> None:
        """What has happened, for `wait` seconds at the most."""
        for key, events in self.selector.select(wait):
            sock, peer = key.fileobj, key.data
            if sock in self.pending:
                self._connected(sock, peer)
            elif events & selectors.EVENT_READ:
                self._heard(sock, peer)
        now = time.monotonic()
        while self.dripping and self.dripping[0][0] <= now:
            _, sock = self.dripping.popleft()
            if sock in self.standing and self._say(sock, b"x"):
                self.dripping.append((now + 1, sock))

    def _connected(self, sock: socket.socket, peer: Peer) -> None:
        self.pending.discard(sock)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.failed += 1
            self._forget(sock, peer)
            return
        self.opened += 1
        self.standing[sock] = peer
        self.selector.modify(sock, selectors.EVENT_READ, peer)
        if peer.first:
            self._say(sock, peer.first)
        if peer.drips:
            self.dripping.append((time.monotonic() + 1, sock))

    @staticmethod
    def _say(sock: socket.socket, words: bytes) -> bool:
        try:
            sock.send(words)
        except OSError:  # its end is heard by the selector
            return False
        return True

    def _heard(self, sock: socket.socket, peer: Peer) -> None:
        try:
            if sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.closed += 1
        del self.standing[sock]
        self._forget(sock, peer)

    def _forget(self, sock: socket.socket, peer: Peer) -> None:
        self.selector.unregister(sock)
        sock.close()
        self.missing.append(peer)


class Shaker(threading.Thread):
    """Whole TLS handshakes, `rate` a second, each closed when it is done."""

    def __init__(self, port: int, rate: float):
        super().__init__(daemon=True)
        self.port, self.rate = port, rate
        self.done = self.failed = 0

    def run(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # What the client verifies costs the server nothing.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        due = time.monotonic()
        while True:
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
            try:
                with socket.create_connection((HOST, self.port), 5) as sock, context.wrap_socket(sock):
                    self.done += 1
            except OSError:
                self.failed += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--ramp", type=float, default=10.0)
    parser.add_argument("--handshakes", type=float, default=0.0, help="whole TLS handshakes a second beside")
    args = parser.parse_args()
    # The peers have a machine of their own in life: here they must not take the load's processors.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(args.kind, args.port, args.count)
    shaker = Shaker(args.port, args.handshakes) if args.handshakes else None
    if shaker:
        shaker.start()
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    start, ready = time.monotonic(), False
    while not over.is_set():
        due = args.count if ready else int(args.count * min(1.0, (time.monotonic() - start) / max(args.ramp, 0.01)))
        crowd.open_some(due - len(crowd.standing) - len(crowd.pending))
        crowd.turn(0.005)
        if not ready and time.monotonic() - start >= args.ramp and len(crowd.standing) >= args.count * 0.95:
            ready = True
            print("ready", flush=True)
    print(json.dumps({"standing": len(crowd.standing), "opened": crowd.opened, "replaced": crowd.closed, "failed": crowd.failed,
                      "handshakes": shaker.done if shaker else 0, "handshakes_failed": shaker.failed if shaker else 0}), flush=True)


if __name__ == "__main__":
    main()
