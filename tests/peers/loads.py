"""The scenarios, and how each load generator is told to run them."""

import dataclasses
import json
import pathlib

from . import servers

# A run may take so many seconds beside what is measured: connecting 10,000 clients, draining.
SPARE_SECONDS = 240


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One line of the table. `load` is what runs; `settle` runs before on the same server, unmeasured."""

    name: str
    title: str
    load: dict
    settle: dict | None = None


def _fanout(rooms: int, members: int, **more) -> dict:
    return {"kind": "fanout", "rooms": rooms, "members": members, **more}


SCENARIOS = (
    Scenario("1x100", "1 room x 100 members", _fanout(1, 100)),
    Scenario("100x10", "100 rooms x 10 members", _fanout(100, 10)),
    Scenario("1x1", "one publisher to one subscriber", _fanout(1, 1)),
    Scenario("paced", "1,000 a second to 10 members", {"kind": "paced", "rooms": 1, "members": 10, "rate": 1000}),
    Scenario("rooms-100", "100 rooms in turn", {"kind": "rooms", "rooms": 100}),
    Scenario("rooms-10000", "10,000 rooms in turn", {"kind": "rooms", "rooms": 10_000}),
    Scenario("1x1-qos1", "one publisher to one subscriber, QoS 1", _fanout(1, 1, qos=1)),
    Scenario("100x10-qos1", "100 rooms x 10 members, QoS 1", _fanout(100, 10, qos=1)),
    Scenario("paced-qos1", "1,000 a second to 10 members, QoS 1",
             {"kind": "paced", "rooms": 1, "members": 10, "rate": 1000, "qos": 1}),
    Scenario("churn", "the same at QoS 0, beside 1,000 joins and leaves a second",
             {"kind": "churn", "rooms": 1, "members": 10, "rate": 1000, "changes": 1000}),
    Scenario("rooms-50000", "50,000 rooms in turn, 10 a client", {"kind": "rooms", "rooms": 50_000, "together": 10}),
    # Some seconds of messages through few connections first: a log's segments fill and rotate, so that
    # what grows afterwards is the connections.
    Scenario("connect-5000", "5,000 clients connect and join", {"kind": "connect", "clients": 5000},
             settle=_fanout(64, 1)),
)

# The same over TLS, where `roommq bench` is the tool: roomload has none.
TLS_SCENARIOS = (
    Scenario("tls-1x100", "1 room x 100 members", _fanout(1, 100)),
    Scenario("tls-100x10", "100 rooms x 10 members", _fanout(100, 10)),
    Scenario("tls-1x1", "one publisher to one subscriber", _fanout(1, 1)),
    Scenario("tls-connect", "1,000 clients connect and join", {"kind": "connect", "clients": 1000}, settle=_fanout(64, 1)),
)


class Tool:
    """A load generator. `run` gives figures under names that do not depend on the tool."""

    def __init__(self, name: str, binary: pathlib.Path):
        self.name = name
        self.binary = binary

    def can(self, load: dict) -> bool:
        """`roommq bench` has no load of joins and leaves."""
        return self.name == "roomload" or load["kind"] != "churn"

    def run(self, load: dict, server: servers.Server, seconds: float, warm_up: float | None = None) -> dict:
        build = self._roomload if self.name == "roomload" else self._roommq
        command = [str(self.binary), *build(load, server, seconds, warm_up)]
        done = servers.run_child(command, seconds + (warm_up or 1) + SPARE_SECONDS)
        lines = done.stdout.strip().splitlines()
        if not lines:
            raise RuntimeError(f"{' '.join(command)} printed nothing: {done.stderr.strip()[-500:]}")
        try:
            raw = json.loads(lines[-1])
        except ValueError as error:
            raise RuntimeError(f"{' '.join(command)} printed no JSON: {lines[-1][:200]}") from error
        if "error" in raw:
            raise RuntimeError(f"{' '.join(command)}: {raw['error']}")
        return _from_roomload(raw) if self.name == "roomload" else _from_roommq(raw["results"][0])

    @staticmethod
    def _roomload(load: dict, server: servers.Server, seconds: float, warm_up: float | None) -> list[str]:
        words = {"fanout": ["fanout"], "paced": ["latency"], "rooms": ["many-rooms"], "connect": ["storm"], "churn": ["churn"]}[load["kind"]]
        words += ["--addr", server.address, "--pid", str(server.pid), "--measure-ms", str(int(seconds * 1000))]
        if warm_up is not None:
            words += ["--warmup-ms", str(int(warm_up * 1000))]
        options = {"rooms": "--rooms", "members": "--subs", "rate": "--rate", "qos": "--qos", "messages": "--msgs",
                   "together": "--rooms-per-conn", "clients": "--clients", "changes": "--churn-rate"}
        return words + [word for key, option in options.items() if key in load for word in (option, str(load[key]))]

    @staticmethod
    def _roommq(load: dict, server: servers.Server, seconds: float, _warm_up: float | None) -> list[str]:
        place = ["--server", f"mqtts://{server.address}", "--ca", str(server.ca)] if server.ca else ["--server", server.address]
        words = ["bench", load["kind"], "--json", *place, "--pid", str(server.pid), "--seconds", str(seconds)]
        options = {"rooms": "--rooms", "members": "--members", "rate": "--rate", "qos": "--qos",
                   "messages": "--messages", "together": "--rooms-per-connection", "clients": "--clients"}
        return words + [word for key, option in options.items() if key in load for word in (option, str(load[key]))]


def _from_roomload(raw: dict) -> dict:
    if raw["scenario"] == "storm":
        return {"rate": raw["connects_per_s"], "cpu": raw["cpu_us_per_connect"], "idle_bytes": raw["rss_bytes_per_conn"],
                "p50": raw["connect_us"]["p50"], "p99": raw["connect_us"]["p99"], "lost": 0, "disorder": 0,
                "wrong": raw["failed"], "why": raw["first_error"], "rss_kib": raw["rss_kib"]["end"]}
    return {"rate": raw["delivered_per_s"], "cpu": raw["cpu_us_per_delivered"], "p50": raw["latency_us"]["p50"],
            "p99": raw["latency_us"]["p99"], "lost": raw["lost"], "disorder": raw["disorder"],
            "wrong": raw["extra"] + raw["corrupt"] + raw["stalls"] + raw["dropped_conns"] + raw.get("churn_failed", 0), "why": raw["first_error"],
            "owed": raw["total_owed"], "seconds": raw["elapsed_s"] + raw["drain_s"],
            "generator_cores": raw["generator_cores"], "rss_kib": raw["rss_kib"]["end"]}


def _from_roommq(raw: dict) -> dict:
    cost = raw["server"]
    if raw["scenario"] == "connect":
        return {"rate": raw["connects_per_s"], "cpu": cost["cpu_us_each"], "idle_bytes": raw["rss_bytes_per_connection"],
                "p50": raw["connect_us"]["p50"], "p99": raw["connect_us"]["p99"], "lost": 0, "disorder": 0,
                "wrong": raw["failed"], "why": raw["first_failure"], "rss_kib": cost["rss_after_kib"]}
    return {"rate": raw["delivered_per_s"], "cpu": cost["cpu_us_each"], "p50": raw["latency_us"]["p50"],
            "p99": raw["latency_us"]["p99"], "lost": raw["lost"], "disorder": raw["out_of_order"],
            "wrong": raw["extra"] + raw["corrupt"] + raw["stalls"] + raw["closed_connections"] + raw["refused"],
            "why": raw["first_failure"], "owed": raw["owed"], "seconds": raw["seconds"],
            "generator_cores": raw["generator_cores"], "rss_kib": cost["rss_after_kib"]}
