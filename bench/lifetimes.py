"""What a system takes to start and to live: seconds until it answers, memory, an idle pool."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from dataset import READER, task_id, user_id
from load import MIX, REQUESTS, make_token
from rounds import Bench, Options, Row
from systems import TASKAPI, Kind, System, memory

from tests.support.service import free_port

STARTS = 3
# Seconds that the workers have to be done with starting, once one of them has answered.
SETTLE = 1.0
FEW, MANY = 20_000, 1_000_000
# Seconds for one system; what hasn't got through all requests by then says how many it was.
FEW_LIMIT, MANY_LIMIT = 90, 1800
IDLE = 600
READ = f"/api/{user_id(READER)}/tasks/{task_id(1)}"
# Seconds between two looks at the pool.
_LOOK = 0.1
_APPLICATION = "taskapi"


def measure_starts(bench: Bench) -> Row:
    """Measure the time from a system's start to its first answer, each alone and in turn."""
    token = make_token(READER)
    size = str(bench.dataset.answer_bytes(1))
    seconds: dict[str, list[float]] = {kind.name: [] for kind in bench.options.kinds}
    for _ in range(STARTS):
        for kind in bench.options.kinds:
            with bench.step(f"start of {kind.name}", _START_ESTIMATE):
                system = bench.make_system(kind, BODY_BYTES=size)
                try:
                    system.start()
                    seconds[kind.name].append(system.wait_for(READ, token))
                finally:
                    system.stop()
    return {"rows": [{"system": name, "seconds": each} for name, each in seconds.items()]}


_START_ESTIMATE = 3.0


def estimate_starts(options: Options) -> float:
    """Return about how many seconds measure_starts takes."""
    return STARTS * len(options.kinds) * _START_ESTIMATE


def measure_memory(bench: Bench) -> Row:
    """Measure memory before and after some thousand requests, each system alone."""
    return _measure_memory(bench, FEW, FEW_LIMIT)


def measure_million(bench: Bench) -> Row:
    """Measure memory before and after a million requests, each system alone."""
    return _measure_memory(bench, MANY, MANY_LIMIT)


def estimate_memory(options: Options) -> float:
    """Return about how many seconds measure_memory takes."""
    return len(_full(options)) * (FEW / 700 + 5)


def estimate_million(options: Options) -> float:
    """Return about how many seconds measure_million takes."""
    return len(_full(options)) * (MANY_LIMIT * 0.9)


def _full(options: Options) -> list[Kind]:
    return [kind for kind in options.kinds if not kind.is_empty]


def _measure_memory(bench: Bench, requests: int, limit: int) -> Row:
    rows = []
    for kind in _full(bench.options):
        # gunicorn.conf.py has workers replaced after some 100,000 requests: what they have grown by
        # wouldn't be seen.
        arguments = ("--max-requests", "0") if kind.arguments is TASKAPI.arguments else ()
        system = bench.make_system(kind, arguments=arguments)
        estimate = (estimate_million if requests == MANY else estimate_memory)(bench.options)
        with (
            bench.step(f"memory of {kind.name}", estimate / len(_full(bench.options))),
            bench.targets([system]) as [target],
        ):
            system.wait_for(READ, make_token(READER))
            time.sleep(SETTLE)
            before = _look_at_memory(system)
            workers = [process.pid for process in system.workers()]
            measured = target.measure(MIX, 16, limit, stop_after=requests)
            rows.append(
                {
                    "system": kind.name,
                    "requests": measured.right,
                    "requests_per_second": measured.requests_per_second,
                    "before": before,
                    "after": _look_at_memory(system),
                    "same_workers": workers == [process.pid for process in system.workers()],
                }
            )
    return {"rows": rows}


def _look_at_memory(system: System) -> Row:
    return {
        "workers": [memory(process) for process in system.workers()],
        "all_pss": sum(memory(process)["pss"] for process in system.processes()),
    }


def measure_pool(bench: Bench) -> Row:
    """Create at 50 connections, watch the pool, and then end all its connections (T088 to T094)."""
    address = f"127.0.0.1:{free_port()}"
    metrics = f"http://{address}/metrics"
    system = bench.make_system(TASKAPI, name="pool", METRICS_BIND=address)
    with (
        bench.step("the pool at 50 connections", estimate_pool(bench.options)),
        bench.targets([system]) as [target],
    ):
        before = _count_connections(bench)
        with _watching(metrics) as looks:
            created = target.measure(REQUESTS["create"], 50, bench.options.seconds)
        during = _count_connections(bench)
        ended = len(bench.dataset.run("end_connections", application=_APPLICATION))
        # Raises if one answer is anything but right.
        read = target.measure(REQUESTS["read"], 50, 1)
        lost = _read_metrics(metrics)["taskapi_db_connections_lost_total"]
    refused = "too many connections", "too many clients", "remaining connection slots"
    logs = system.log.read_text() + bench.postgres.log.read_text()
    return {
        "created": created.right,
        "p95": created.p95,
        "errors": created.errors,
        "refused_connections": sum(logs.count(words) for words in refused),
        "connections": {"before": before, "after": during},
        "pool": {
            name: {
                "least": min(look[key] for look in looks),
                "most": max(look[key] for look in looks),
            }
            for name, key in (
                ("size", "taskapi_db_pool_size"),
                ("used", "taskapi_db_pool_used"),
                ("waiting", "taskapi_db_pool_waiting"),
            )
        },
        "pool_max": looks[0]["taskapi_db_pool_max"],
        "looks": len(looks),
        "ended": ended,
        "lost": lost,
        "read_after_ended": read.right,
        "errors_after_ended": read.errors,
    }


def estimate_pool(options: Options) -> float:
    """Return about how many seconds measure_pool takes."""
    return options.seconds + 6


def measure_idle(bench: Bench) -> Row:
    """Let taskapi be idle for 10 minutes, and see what the next request gets (T093)."""
    system = bench.make_system(TASKAPI, name="idle")
    with bench.targets([system]) as [target]:
        with bench.step("load before the idle time", 5):
            target.measure(REQUESTS["read"], 50, 2)
            counts = [_count_connections(bench)]
        for minute in range(IDLE // 60):
            with bench.step(f"idle for the minute {minute + 1}", 60):
                time.sleep(60)
                counts.append(_count_connections(bench))
        started = time.perf_counter()
        answer = target.get(READ, READER)
        seconds = time.perf_counter() - started
        known = bench.dataset.describe([task_id(1)])[task_id(1)]
        # As many more as there are connections, so that each is used.
        after = target.measure(REQUESTS["read"], 50, 1)
    return {
        "idle_seconds": IDLE,
        "right": answer.status_code == 200 and answer.json() == known,
        "milliseconds": seconds * 1000,
        "connections_by_minute": counts,
        "pool_min": bench.settings.pool_min * bench.settings.workers,
        "read_after": after.right,
        "errors_after": after.errors,
    }


def estimate_idle(_options: Options) -> float:
    """Return about how many seconds measure_idle takes."""
    return IDLE + 10


def _count_connections(bench: Bench) -> int:
    [(count,)] = bench.dataset.run("count_connections", application=_APPLICATION)
    return int(count)


def _read_metrics(url: str) -> dict[str, float]:
    """Return the metrics that have no labels, by their names."""
    text = httpx.get(url, trust_env=False).text
    found = re.findall(r"^(\w+)(?:\{\})? ([-+.0-9e]+)$", text, flags=re.MULTILINE)
    return {name: float(value) for name, value in found}


@contextmanager
def _watching(url: str) -> Iterator[list[dict[str, Any]]]:
    """Lend a list that fills with what /metrics says during the block."""
    looks = [_read_metrics(url)]
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            looks.append(_read_metrics(url))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield looks
    finally:
        over.set()
        watcher.join()
