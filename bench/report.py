"""The results: kept in bench/results.json, shown as tables in docs/performance.md."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def failed_share(row: Row) -> float:
    """Return the share of requests that were refused or got no answer."""
    right = sum(each["right"] for each in row["rounds"])
    failed = sum(sum(each["refused"].values()) + each["errors"] for each in row["rounds"])
    return float(failed / (right + failed))


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

    # What taskapi is compared with.
    against: str
    figure: str
    where: str
    wanted: str
    measured: str
    is_met: bool
    # How many times the other's the figure is; None: it is compared with a fixed limit.
    ratio: float | None = None

    @property
    def name(self) -> str:
        """What the table of aims calls it."""
        to = f" relative to {self.against}" if self.ratio is not None else ""
        return f"{self.where}: {self.figure}{to}"


class Wanted(NamedTuple):
    """What is wanted of taskapi beside another system, at more than one connection."""

    # By request: at least so many times the other's throughput.
    throughput: Mapping[str, float]
    # Of each of these requests: at most so many times the other's p99.
    p99: float | None = None


READS, WRITES = ("read", "list", "list_1000"), ("create", "put", "toggle")
WANTED = {
    "starlette": Wanted(dict.fromkeys(READS + WRITES, 1.0), p99=1.0),
    "fastify": Wanted({"list_1000": 1.0, **dict.fromkeys(("read", *WRITES), 0.5)}),
    "fastapi": Wanted({**dict.fromkeys(READS, 3.0), **dict.fromkeys(WRITES, 4.0)}, p99=1 / 3),
    "flask-empty": Wanted({"read": 0.55, "create": 0.45}),
}
# A system that refuses requests is fast.
FAILED_WANTED = 0.01
MEMORY_WANTED = 0.5
GROWTH_WANTED = 1.1


def judge(results: Results) -> Iterator[Aim]:
    """Compare what was measured with what was wanted, as far as it was measured."""
    for name in WANTED:
        yield from judge_stack(results.parts.get("stacks"), name)
    yield from judge_memory(results.parts.get("memory"), "before", "after")
    yield from judge_memory(results.parts.get("million"), "after")
    yield from judge_growth(results.parts.get("growth"))
    if pool := results.parts.get("pool"):
        p95, where = pool["p95"], "create at 50 connections"
        yield Aim("a fixed limit", "p95", where, "< 200 ms", f"{p95:.1f} ms", p95 < 200)


def judge_stack(part: Row | None, name: str) -> Iterator[Aim]:
    """Compare throughput and p99 with what was wanted beside another system."""
    wanted = WANTED[name]
    for row in part["rows"] if part else []:
        if row["system"] != "taskapi" or row["connections"] == 1:
            continue
        same = {name: row[name] for name in ("request", "connections")}
        other = find(part, system=name, **same)
        if other is None or row["request"] not in wanted.throughput:
            continue
        rate, p99 = (ratios(row, other, figure) for figure in ("requests_per_second", "p99"))
        aims = [_at_least(wanted.throughput[row["request"]], rate, name, "throughput", _where(row))]
        if wanted.p99 is not None:
            aims.append(_at_most(wanted.p99, p99, name, "p99", _where(row)))
        is_served, failed = failed_share(row) <= FAILED_WANTED, tell_failures(row)
        for aim in aims:
            measured = f"{aim.measured}, failed: {failed}" if failed else aim.measured
            yield aim._replace(measured=measured, is_met=aim.is_met and is_served)


def judge_memory(part: Row | None, *moments: str) -> Iterator[Aim]:
    """Compare a worker's memory with fastapi's."""
    ours, peer = find(part, system="taskapi"), find(part, system="fastapi")
    for when in moments if ours and peer else ():
        assert ours is not None
        assert peer is not None
        where = "at start" if when == "before" else f"after {ours['requests']:,} requests"
        share = worker_memory(ours, when) / worker_memory(peer, when)
        yield _at_most(MEMORY_WANTED, [share], "fastapi", "memory of a worker (PSS)", where)


def judge_growth(part: Row | None) -> Iterator[Aim]:
    """Compare p50 with that of the smallest table."""
    for row in part["rows"] if part else []:
        few = find(part, **{name: row[name] for name in ("request", "connections")})
        assert few is not None
        if few is not row:
            where = f"{_where(row)}, {int(row['system'].removeprefix('tasks-')):,} tasks"
            yield _at_most(GROWTH_WANTED, ratios(row, few, "p50"), "10,000 tasks", "p50", where)


def _where(row: Row) -> str:
    connections = row["connections"]
    return f"{TITLES[row['request']]} at {connections} connection{'s' * (connections > 1)}"


def _at_least(
    wanted: float, measured: Sequence[float], against: str, figure: str, where: str
) -> Aim:
    ratio = statistics.median(measured)
    shown = spread(measured, 2)
    return Aim(against, figure, where, f"≥ {wanted:g}", shown, ratio >= wanted, ratio)


def _at_most(
    wanted: float, measured: Sequence[float], against: str, figure: str, where: str
) -> Aim:
    ratio = statistics.median(measured)
    shown = spread(measured, 2)
    return Aim(against, figure, where, f"≤ {wanted:.2f}", shown, ratio <= wanted, ratio)


def tell_conclusion(results: Results) -> str:
    """Return how many aims are met, in all and beside each other system, and each ratio's range."""
    aims = list(judge(results))
    lines = [f"- {_count_met(aims)}."]
    compared = dict.fromkeys(aim.against for aim in aims if aim.ratio is not None)
    for against in compared:
        group = [aim for aim in aims if aim.against == against]
        figures = dict.fromkeys(aim.figure for aim in group)
        ranges = [_tell_range([aim for aim in group if aim.figure == name]) for name in figures]
        lines.append(
            f"- **{against}**: {_count_met(group)}. Relative to {against}, {', '.join(ranges)}."
        )
    if left := [name for name in WANTED if name not in compared]:
        lines.append(f"- Not measured: {', '.join(left)}.")
    return "\n".join(lines) + "\n"


def _count_met(aims: Sequence[Aim]) -> str:
    return f"{sum(aim.is_met for aim in aims)} of {len(aims)} aims are met"


def _tell_range(aims: Sequence[Aim]) -> str:
    """Return the range of a figure's ratios, of which there is at least one."""
    found = [(aim.ratio or 0, aim.where) for aim in aims]
    least, most = (f"{ratio:.2f} ({where})" for ratio, where in (min(found), max(found)))
    return f"{aims[0].figure} is {least}" + (f" to {most}" if most != least else "")


def tell_aims(results: Results) -> str:
    """Return the table of aims."""
    rows = [
        [aim.name, aim.wanted, aim.measured, "met" if aim.is_met else "**not met**"]
        for aim in judge(results)
    ]
    return table(["Aim", "Wanted", "Measured", "Result"], rows)


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
    summary = {"conclusion": tell_conclusion(results), "aims": tell_aims(results)}
    origin = {"origin": tell_origin(results)}
    return {**summary, **origin, "versions": tell_versions(results), **tables}


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
