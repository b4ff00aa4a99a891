"""Latency of ordinary clients on RoomMQ alone, undisturbed and beside peers that mean no good."""

import dataclasses
import json
import pathlib
import sys

from . import certificates, loads, servers, verdict

# At its defaults but for the listeners. The load goes to the first.
CONFIG = f"""
[[listener]]
bind = "127.0.0.1:{{port}}"
[[listener]]
bind = "127.0.0.1:{{tls_port}}"
transport = "tls"
certificate = "{{dir}}/{certificates.CERTIFICATE}"
key = "{{dir}}/{certificates.KEY}"
[[listener]]
bind = "127.0.0.1:{{ws_port}}"
transport = "ws"
"""
LOAD = {"kind": "paced", "rooms": 1, "members": 10, "rate": 1000}
# The server closes what does not connect within its 10 s. They come over so long, so that as many go in each second.
RAMP_SECONDS = 10
READY_SECONDS = 60
CALM = "calm"
# Times the undisturbed median.
MOST = 2.0


@dataclasses.dataclass(frozen=True)
class Row:
    """`kind` and the rest are what nuisance.py is told; without, nothing is beside the load."""

    name: str
    title: str
    kind: str = ""
    port: str = "port"
    count: int = 0
    handshakes: int = 0


ROWS = (
    Row(CALM, "nothing"),
    Row("half-open", "5,000 connections without a CONNECT, or with half of one", "half-open", count=5000),
    Row("slow-loris", "200 peers that send a byte a second", "slow-loris", count=200),
    Row("tls", "200 TLS handshakes that hang, and 20 whole ones a second", "tls", "tls_port", 200, 20),
    Row("websocket", "200 WebSocket upgrades that hang", "websocket", "ws_port", 200),
)


def kind(binary: pathlib.Path) -> servers.Kind:
    return servers.Kind(verdict.OURS, [str(binary), "serve", "--config", f"{{dir}}/{verdict.OURS}.conf"], config=CONFIG,
                        ports=("port", "tls_port", "ws_port"))


def run(row: Row, server: servers.Server, tool: loads.Tool, seconds: float, ramp: float) -> dict:
    """The figures of the load, and what became of the nuisance."""
    if not row.kind:
        return {**tool.run(LOAD, server, seconds), "beside": None}
    command = [sys.executable, str(pathlib.Path(__file__).with_name("nuisance.py")), row.kind,
               "--port", str(server.ports[row.port]), "--count", str(row.count), "--ramp", str(ramp),
               "--handshakes", str(row.handshakes)]
    with servers.Companion(command, ramp + READY_SECONDS) as nuisance:
        figures = tool.run(LOAD, server, seconds)
    beside = json.loads(nuisance.last)
    # What did not stand disturbed nobody.
    if beside["standing"] < 0.9 * row.count or beside["handshakes_failed"] > beside["handshakes"]:
        raise RuntimeError(f"the nuisance was none: {nuisance.last}")
    return {**figures, "beside": beside}


def marks(medians: dict[str, dict]) -> list[dict]:
    """`medians` is row -> figures."""
    calm = medians.get(CALM)
    out = []
    for name, figures in medians.items():
        if name == CALM or not calm:
            continue
        for figure in ("p50", "p99"):
            value = figures[figure] / calm[figure]
            out.append({"mark": f"hostile, {name}: {figure}, of the undisturbed", "value": round(value, 3),
                        "limit": f"at most {MOST:g}", "met": value <= MOST})
    for name, figures in medians.items():
        faults = figures["lost"] + figures["disorder"] + figures["wrong"]
        out.append({"mark": f"hostile, {name}: lost, out of order or failed", "value": faults, "limit": "at most 0",
                    "met": faults == 0})
    return out


def table(medians: dict[str, dict], runs: dict[str, list[dict]]) -> list[list[str]]:
    rows = [["beside 1,000 a second to 10 members", "p50 us", "p99 us", "p50, of the first", "p99, of the first", "CPU us",
             "closed and replaced", "whole handshakes"]]
    calm = medians.get(CALM)
    for row in ROWS:
        figures = medians.get(row.name)
        if not figures:
            continue
        beside = [run["beside"] for run in runs[row.name] if run["beside"]]
        ratios = [f"{figures[key] / calm[key]:.2f}" if calm else "-" for key in ("p50", "p99")]
        rows.append([row.title, f"{figures['p50']:,.0f}", f"{figures['p99']:,.0f}", *ratios, f"{figures['cpu']:.2f}",
                     f"{sum(b['replaced'] for b in beside):,}", f"{sum(b['handshakes'] for b in beside):,}"])
    return rows
