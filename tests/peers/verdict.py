"""Medians, the marks that RoomMQ has to reach, and the tables."""

import statistics

OURS, PEER, FLOOR = "roommq", "mosquitto", "floor"
FIGURES = ("rate", "cpu", "p50", "p99", "idle_bytes", "rss_kib")


def median_of(runs: list[dict]) -> dict:
    """The median of each figure, the sum of each fault."""
    out = {key: statistics.median(run[key] for run in runs) for key in FIGURES if key in runs[0]}
    for key in ("lost", "disorder", "wrong"):
        out[key] = sum(run[key] for run in runs)
    out["why"] = next((run["why"] for run in runs if run["why"]), None)
    return out


def medians(runs: dict[str, dict[str, list[dict]]]) -> dict[str, dict[str, dict]]:
    """scenario -> server -> figures, of what ran at all."""
    return {scenario: {name: median_of(r) for name, r in by.items() if r} for scenario, by in runs.items()}


def marks(medians: dict[str, dict[str, dict]]) -> list[dict]:
    """What issues 2 and 10 ask for, as far as it was measured. `medians` is scenario -> server -> figures."""
    out: list[dict] = []

    def ratio(scenario: str, figure: str, other: str) -> float | None:
        ours, theirs = (medians.get(scenario, {}).get(name, {}).get(figure) for name in (OURS, other))
        return ours / theirs if ours is not None and theirs else None

    def mark(text: str, value: float | None, least: float | None = None, most: float | None = None) -> None:
        if value is not None:
            met = (least is None or value >= least) and (most is None or value <= most)
            limit = f"at least {least:g}" if least is not None else f"at most {most:g}"
            out.append({"mark": text, "value": round(value, 3), "limit": limit, "met": met})

    for name in ("1x100", "100x10"):
        mark(f"{name}: deliveries a second, times mosquitto's", ratio(name, "rate", PEER), least=8)
        mark(f"{name}: deliveries a second, of the floor's", ratio(name, "rate", FLOOR), least=0.5)
        mark(f"{name}: CPU a delivery, of mosquitto's", ratio(name, "cpu", PEER), most=0.125)
    mark("1x1: deliveries a second, times mosquitto's", ratio("1x1", "rate", PEER), least=1.2)
    mark("paced: p50, of mosquitto's", ratio("paced", "p50", PEER), most=1.25)
    mark("paced: p99, of mosquitto's", ratio("paced", "p99", PEER), most=1.25)
    mark("paced: CPU a delivery, of mosquitto's", ratio("paced", "cpu", PEER), most=1.4)
    for name in ("rooms-100", "rooms-10000"):
        mark(f"{name}: deliveries a second, of mosquitto's", ratio(name, "rate", PEER), least=0.9)
    few, many = ratio("rooms-100", "cpu", FLOOR), ratio("rooms-10000", "cpu", FLOOR)
    if few and many:
        mark("CPU's growth from 100 to 10,000 rooms, of the floor's growth", many / few, most=1.2)
    for name, least in (("1x1", 0.88), ("1x1-qos1", 0.85), ("100x10-qos1", 0.7), ("rooms-50000", 0.85)):
        mark(f"{name}: deliveries a second, of the floor's", ratio(name, "rate", FLOOR), least=least)
    mark("connect-5000: connects a second, of the floor's", ratio("connect-5000", "rate", FLOOR), least=0.88)
    mark("connect-5000: CPU a connect, of mosquitto's", ratio("connect-5000", "cpu", PEER), most=1.1)
    mark("connect-5000: bytes an idle connection", medians.get("connect-5000", {}).get(OURS, {}).get("idle_bytes"), most=5120)
    for name in ("paced-qos1", "churn"):
        mark(f"{name}: CPU a delivery, of mosquitto's", ratio(name, "cpu", PEER), most=1)
    for name, by_server in medians.items():
        ours = by_server.get(OURS)
        if ours:
            faults = ours["lost"] + ours["disorder"] + ours["wrong"]
            mark(f"{name}: lost, out of order or failed", faults, most=0)
    return out


def tls_marks(medians: dict[str, dict[str, dict]]) -> list[dict]:
    """Over TLS: not slower than mosquitto, in any row."""
    out = []
    for name, by_server in medians.items():
        ours, theirs = by_server.get(OURS), by_server.get(PEER)
        if ours and theirs:
            value = ours["rate"] / theirs["rate"] if theirs["rate"] else 0.0
            out.append({"mark": f"{name}: a second, times mosquitto's", "value": round(value, 3), "limit": "at least 1",
                        "met": value >= 1})
        if ours:
            faults = ours["lost"] + ours["disorder"] + ours["wrong"]
            out.append({"mark": f"{name}: lost, out of order or failed", "value": faults, "limit": "at most 0", "met": faults == 0})
    return out


def failed_runs(failures: list[str]) -> list[dict]:
    """A comparison with holes in it is not passed."""
    return [{"mark": f"{failure}: failed runs", "value": 1, "limit": "at most 0", "met": False} for failure in failures]


def million_marks(million: dict) -> list[dict]:
    """What issue 2 asks for about a million messages."""
    small, large = million["200,000"], million["1,000,000"]
    faults = large["lost"] + large["disorder"] + large["wrong"]
    missing = large["expected"] - large["owed"] + faults
    growth = large["rss_kib"] / max(small["rss_kib"], 1)
    return [
        {"mark": "a million at QoS 1: not sent, lost, out of order or failed", "value": missing, "limit": "at most 0",
         "met": missing == 0},
        {"mark": "a million at QoS 1: resident memory, of that at 200,000", "value": round(growth, 3),
         "limit": "at most 1.1", "met": growth <= 1.1},
    ]


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    if number >= 1e4:
        return f"{number / 1e3:.0f} k"
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def tables(first: str, titles: dict[str, str], medians: dict) -> list[list[list[str]]]:
    """Tables as rows of cells, the first row the heads, `first` the first of them."""
    names = [name for name in (OURS, PEER, FLOOR) if any(name in by_server for by_server in medians.values())]
    if not names:
        return []
    with_floor = FLOOR in names
    heads = [first, *(f"{name}: a second / CPU us" for name in names), "x mosquitto", *(["of the floor"] if with_floor else []),
             "CPU of mosquitto's"]
    times = [first, *(f"{name}: p50 / p99 us" for name in names)]
    rows, slow, idle = [heads], [times], [[first, *(f"{name}: bytes an idle connection" for name in names)]]
    for scenario, by_server in medians.items():
        def cells(form, by_server=by_server):
            return [form(by_server[name]) if name in by_server else "-" for name in names]

        def over(figure, other, by_server=by_server):
            ours, theirs = by_server.get(OURS, {}).get(figure), by_server.get(other, {}).get(figure)
            return f"{ours / theirs:.2f}" if ours is not None and theirs else "-"

        rows.append([titles[scenario], *cells(lambda s: f"{_short(s['rate'])} / {s['cpu']:.2f}"),
                     over("rate", PEER), *([over("rate", FLOOR)] if with_floor else []), over("cpu", PEER)])
        slow.append([titles[scenario], *cells(lambda s: f"{s['p50']:,.0f} / {s['p99']:,.0f}")])
        if any("idle_bytes" in figures for figures in by_server.values()):
            idle.append([titles[scenario], *cells(lambda s: f"{s['idle_bytes']:,.0f}")])
    return [rows, slow] + ([idle] if len(idle) > 1 else [])


def closing_tables(verdicts: list[dict], million: dict | None) -> list[list[list[str]]]:
    """The million, and the marks."""
    out = []
    if million:
        heads = ["messages at QoS 1, 50 rooms x 10", "deliveries", "lost", "disorder", "seconds", "RSS MiB"]
        out.append([heads] + [
            [name, f"{run['owed']:,}", str(run["lost"]), str(run["disorder"]), f"{run['seconds']:.1f}", f"{run['rss_kib'] / 1024:.1f}"]
            for name, run in million.items()
        ])
    if verdicts:
        out.append([["mark", "is", "must be", ""]] + [
            [v["mark"], f"{v['value']:g}", v["limit"], "met" if v["met"] else "MISSED"] for v in verdicts
        ])
    return out


def plain(table: list[list[str]]) -> str:
    """Columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        for row in table
    )


def markdown(table: list[list[str]]) -> str:
    """The same for a page."""
    head, *rows = table
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))
