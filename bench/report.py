"""The results: kept in bench/results.json, shown as tables in docs/performance.md."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

Row = dict[str, Any]

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
TITLES = {
    "read": "read one",
    "list": "list of 20",
    "list_1000": "list of 1,000",
    "create": "create",
    "put": "PUT",
    "toggle": "toggle",
    "login": "login",
}


class Results:
    """What was measured, by parts; each says when and on what."""

    def __init__(self, parts: dict[str, Row]) -> None:
        self.parts = parts

    @classmethod
    def load(cls, path: Path = RESULTS) -> Self:
        """Return what earlier runs have saved."""
        return cls(json.loads(path.read_text()) if path.exists() else {})

    def save(self, path: Path = RESULTS) -> None:
        """Write them, each number with as many digits as say something."""
        path.write_text(json.dumps(_rounded(self.parts), indent=1, sort_keys=True) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def median(row: Row, name: str) -> float:
    """Return the median of the rounds."""
    return float(statistics.median(each[name] for each in row["rounds"]))


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median, with the least and the most."""
    shown = [f"{value:,.{digits}f}" for value in sorted(values)]
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if shown[0] == shown[-1] else f"{middle} ({shown[0]} to {shown[-1]})"


def rates(row: Row) -> list[float]:
    """Return the requests a second of each round."""
    return [each["requests_per_second"] for each in row["rounds"]]


def ratios(row: Row, other: Row, name: str) -> list[float]:
    """Return how many times the other's a figure is, of the same round each."""
    pairs = zip(row["rounds"], other["rounds"], strict=True)
    return [one[name] / two[name] for one, two in pairs]


def find(part: Row | None, **wanted: Any) -> Row | None:
    """Return the row of a part that has these values, if there is one."""
    rows = part["rows"] if part else []
    return next((row for row in rows if wanted.items() <= row.items()), None)


def tell_failures(row: Row) -> str:
    """Return the share of refusals by their status, and how many got no answer; else nothing."""
    counts: dict[str, int] = {}
    for each in row["rounds"]:
        for status, count in each["refused"].items():
            counts[status] = counts.get(status, 0) + count
    total = sum(each["right"] for each in row["rounds"]) + sum(counts.values())
    words = [f"{status}: {100 * n / total:.1f} %" for status, n in sorted(counts.items())]
    lost = sum(each["errors"] for each in row["rounds"])
    return ", ".join([*words, f"{lost} lost"] if lost else words)


COLUMNS: dict[str, Callable[[Row], str]] = {
    "Requests a second": lambda row: spread(rates(row)),
    "p50 ms": lambda row: f"{median(row, 'p50'):.1f}",
    "p95 ms": lambda row: f"{median(row, 'p95'):.1f}",
    "p99 ms": lambda row: f"{median(row, 'p99'):.1f}",
    "CPU ms: workers": lambda row: f"{median(row, 'workers_cpu'):.2f}",
    "PostgreSQL": lambda row: f"{median(row, 'postgres_cpu'):.2f}",
    "wrk": lambda row: f"{median(row, 'wrk_cpu'):.2f}",
    "Others": lambda row: f"{100 * median(row, 'others_share'):.0f} %",
    "Failed": tell_failures,
}


def tell_stacks(part: Row) -> str:
    """Return the table of each request at each system."""
    rows = [
        [
            TITLES[row["request"]],
            str(row["connections"]),
            row["system"],
            *(cell(row) for cell in COLUMNS.values()),
        ]
        for row in part["rows"]
    ]
    return table(["Request", "Connections", "System", *COLUMNS], rows)


def tell_floor(part: Row) -> str:
    """Return the table of what PostgreSQL does by itself."""
    rows = [
        [
            TITLES[row["request"]],
            str(row["connections"]),
            spread(rates(row)),
            *(f"{median(row, name):.2f}" for name in ("p50", "p99", "postgres_cpu", "pgbench_cpu")),
        ]
        for row in part["rows"]
    ]
    columns = ["Statements of", "Clients", "A second", "p50 ms", "p99 ms"]
    return table([*columns, "CPU ms: PostgreSQL", "pgbench"], rows)


def tell_workers(part: Row) -> str:
    """Return the table of one, two and four workers."""
    rows = []
    for row in part["rows"]:
        one = find(part, system="workers-1", request=row["request"])
        assert one is not None
        rows.append(
            [
                TITLES[row["request"]],
                row["system"].removeprefix("workers-"),
                spread(rates(row)),
                spread(ratios(row, one, "requests_per_second"), 2),
                f"{median(row, 'p50'):.1f}",
                f"{median(row, 'p99'):.1f}",
            ]
        )
    columns = ["Request", "Workers", "Requests a second", "Times one worker", "p50 ms", "p99 ms"]
    return table(columns, rows)


def tell_growth(part: Row) -> str:
    """Return the table of ever more tasks."""
    rows = []
    for row in part["rows"]:
        few = find(part, **{name: row[name] for name in ("request", "connections")})
        assert few is not None
        tasks = row["system"].removeprefix("tasks-")
        rows.append(
            [
                TITLES[row["request"]],
                str(row["connections"]),
                f"{int(tasks):,}",
                f"{part['bytes'][tasks] / 2**20:,.0f}",
                spread([each["p50"] for each in row["rounds"]], 2),
                spread(ratios(row, few, "p50"), 2),
                f"{median(row, 'postgres_cpu'):.2f}",
            ]
        )
    columns = ["Request", "Connections", "Tasks", "MiB", "p50 ms", "Times the first", "PostgreSQL"]
    return table(columns, rows)


def tell_starts(part: Row) -> str:
    """Return the table of seconds until the first answer."""
    rows = [[row["system"], spread(row["seconds"], 2)] for row in part["rows"]]
    return table(["System", "Seconds until the first answer"], rows)


def worker_memory(row: Row, when: str, kind: str = "pss") -> float:
    """Return the mean of the workers' MiB."""
    return statistics.fmean(worker[kind] for worker in row[when]["workers"])


def tell_memory(part: Row) -> str:
    """Return the table of memory before and after."""
    rows = []
    for row in part["rows"]:
        cells = [
            f"{worker_memory(row, when, kind):.1f}"
            for kind in ("pss", "uss")
            for when in ("before", "after")
        ]
        everything = [f"{row[when]['all_pss']:.0f}" for when in ("before", "after")]
        rows.append([row["system"], f"{row['requests']:,}", *cells, *everything])
    columns = ["System", "Requests", "PSS of a worker at start", "after", "USS at start", "after"]
    return table([*columns, "PSS of all processes at start", "after"], rows)


def tell_checks(part: Row) -> str:
    """Return the table of what it costs wrk to check answers."""
    rows = [
        ["yes" if row["checked"] else "no", spread(rates(row)), f"{median(row, 'wrk_cpu'):.3f}"]
        for row in part["rows"]
    ]
    return table(["Checked", "Requests a second", "wrk's CPU ms"], rows)


def tell_pool(part: Row) -> str:
    """Return the table of what 50 creating connections do to the pool."""
    pool = part["pool"]
    rows = [
        ["creates at 50 connections, all right", f"{part['created']:,}"],
        ["of these without an answer", str(part["errors"])],
        ["p95 of create", f"{part['p95']:.1f} ms"],
        ['"too many connections" in the logs', str(part["refused_connections"])],
        *(
            [f"pool's `{name}`, both workers", f"{values['least']:.0f} to {values['most']:.0f}"]
            for name, values in pool.items()
        ),
        ["`max`", f"{part['pool_max']:.0f}"],
        [
            "connections that PostgreSQL had",
            "{before} before, {after} after".format_map(part["connections"]),
        ],
        ["idle connections ended by `pg_terminate_backend`", str(part["ended"])],
        ["found broken before use", f"{part['lost']:.0f}"],
        ["reads right after that, at 50 connections, all right", f"{part['read_after_ended']:,}"],
    ]
    return table(["What", "Measured"], rows)


def tell_idle(part: Row) -> str:
    """Return the table of the idle minutes."""
    counts = part["connections_by_minute"]
    rows = [
        ["idle", f"{part['idle_seconds']} s"],
        ["connections at each minute", ", ".join(map(str, counts))],
        ["the pool's minimum, both workers", str(part["pool_min"])],
        ["the next request", "right" if part["right"] else "wrong"],
        ["answered within", f"{part['milliseconds']:.1f} ms"],
        ["reads after that, at 50 connections, all right", f"{part['read_after']:,}"],
    ]
    return table(["What", "Measured"], rows)


class Aim(NamedTuple):
    """Something that was to be reached, and whether it was."""

    name: str
    wanted: str
    measured: str
    is_met: bool


def judge(results: Results) -> Iterator[Aim]:
    """Compare what was measured with what was wanted, as far as it was measured."""
    yield from judge_stacks(results.parts.get("stacks"))
    for name in ("memory", "million"):
        yield from judge_memory(results.parts.get(name))
    growth = results.parts.get("growth")
    for row in growth["rows"] if growth else []:
        few = find(growth, **{name: row[name] for name in ("request", "connections")})
        assert few is not None
        if few is not row:
            aim = _at_most(1.10, ratios(row, few, "p50"))
            tasks = int(row["system"].removeprefix("tasks-"))
            yield Aim(f"{_name(row)}: p50 with {tasks:,} tasks by that with 10,000", *aim)
    if pool := results.parts.get("pool"):
        is_met = pool["p95"] < 200
        yield Aim("create, 50 connections: p95", "< 200 ms", f"{pool['p95']:.1f} ms", is_met)


def judge_stacks(part: Row | None) -> Iterator[Aim]:
    """Compare the stacks' throughput and p99 with what was wanted."""
    for row in part["rows"] if part else []:
        if row["system"] != "taskapi" or row["connections"] == 1:
            continue
        same = {name: row[name] for name in ("request", "connections")}
        peer, empty = (find(part, system=name, **same) for name in ("fastapi", "flask-empty"))
        if peer and row["request"] != "login":
            times = 3 if row["request"] in ("read", "list", "list_1000") else 4
            rate = _at_least(times, ratios(row, peer, "requests_per_second"))
            yield Aim(f"{_name(row)}: throughput by fastapi's", *rate)
            yield Aim(f"{_name(row)}: p99 by fastapi's", *_at_most(1 / 3, ratios(row, peer, "p99")))
        share = {"read": 0.55, "create": 0.45}.get(row["request"])
        if empty and share:
            rate = _at_least(share, ratios(row, empty, "requests_per_second"))
            yield Aim(f"{_name(row)}: throughput by flask-empty's", *rate)


def judge_memory(part: Row | None) -> Iterator[Aim]:
    """Compare a worker's memory with fastapi's."""
    ours, peer = find(part, system="taskapi"), find(part, system="fastapi")
    if ours and peer:
        for when, words in (
            ("before", "at start"),
            ("after", f"after {ours['requests']:,} requests"),
        ):
            share = worker_memory(ours, when) / worker_memory(peer, when)
            yield Aim(f"PSS of a worker {words} by fastapi's", *_at_most(0.6, [share]))


def _name(row: Row) -> str:
    connections = row["connections"]
    return f"{TITLES[row['request']]}, {connections} connection{'s' * (connections > 1)}"


def _at_least(wanted: float, measured: Sequence[float]) -> tuple[str, str, bool]:
    return f"≥ {wanted:g}", spread(measured, 2), statistics.median(measured) >= wanted


def _at_most(wanted: float, measured: Sequence[float]) -> tuple[str, str, bool]:
    return f"≤ {wanted:.2f}", spread(measured, 2), statistics.median(measured) <= wanted


def tell_aims(results: Results) -> str:
    """Return the table of aims."""
    rows = [
        [aim.name, aim.wanted, aim.measured, "yes" if aim.is_met else "**no**"]
        for aim in judge(results)
    ]
    return table(["Aim", "Wanted", "Measured", "Met"], rows)


def tell_origin(results: Results) -> str:
    """Return when and on what each part was measured."""
    rows = []
    for name, part in sorted(results.parts.items()):
        machine = part["machine"]
        rows.append(
            [
                name,
                part["made_at"],
                f"{part['rounds']} of {part['seconds']} s",
                f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}",
                "yes" if part["logs"] else "no",
            ]
        )
    columns = ["Part", "Measured on", "Rounds", "Machine", "Requests logged"]
    return table(columns, rows)


def tell_versions(results: Results) -> str:
    """Return the versions of the latest run."""
    latest = max(results.parts.values(), key=lambda part: str(part["made_at"]))
    return (
        ", ".join(f"{name} {version}" for name, version in sorted(latest["versions"].items()))
        + "\n"
    )


TABLES: dict[str, Callable[[Row], str]] = {
    "stacks": tell_stacks,
    "floor": tell_floor,
    "workers": tell_workers,
    "pool": tell_pool,
    "starts": tell_starts,
    "memory": tell_memory,
    "million": tell_memory,
    "checks": tell_checks,
    "growth": tell_growth,
    "idle": tell_idle,
}


def render(results: Results) -> dict[str, str]:
    """Return what the page shows, by the names of its markers."""
    tables = {name: TABLES[name](part) for name, part in results.parts.items()}
    summary = {"aims": tell_aims(results), "origin": tell_origin(results)}
    return {**summary, "versions": tell_versions(results), **tables}


def write_page(results: Results, page: Path = PAGE) -> None:
    """Renew in the page what lies between the markers."""
    text = page.read_text()
    for name, shown in render(results).items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        # Not re.sub(), which reads backslashes.
        parts = re.split(pattern, text, maxsplit=1, flags=re.DOTALL)
        assert len(parts) == 2, f"{page} has no place for {name}"
        text = f"{begin}{shown}{end}".join(parts)
    page.write_text(text)
