"""/metrics: what Prometheus is told, by all workers as one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskapi.version import VERSION
from tests.support.accounts import Account, log_in, new_email
from tests.support.fixtures import MakeService
from tests.support.metrics import get_metrics, read_metrics
from tests.support.service import Service, wait_until

TASKS = "/api/<user_id>/tasks"
TASK = f"{TASKS}/<id>"


@pytest.fixture
def own_service(own_url: str, make_service: MakeService) -> Service:
    service = make_service(DATABASE_URL=own_url)
    service.start()
    return service


@pytest.fixture
def own_client(own_service: Service) -> Iterator[httpx.Client]:
    with own_service.client() as client:
        yield client


def workers(service: Service) -> list[psutil.Process]:
    assert service.process is not None
    return psutil.Process(service.process.pid).children()


@contextmanager
def locked(url: str, statement: str = "LOCK TABLE tasks") -> Iterator[None]:
    with psycopg.connect(url) as conn:
        conn.execute(statement)
        yield
        conn.rollback()


def spread(service: Service, count: int) -> None:
    """Send requests at once, each on a connection of its own, so that all workers get some."""

    def ask(_: int) -> int:
        return httpx.get(service.url + "/health", timeout=60).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(count))) == {200}


def test_it_is_for_prometheus(service: Service) -> None:
    response = get_metrics(service)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert names == {
        "taskapi_requests",
        "taskapi_request_duration_seconds",
        "taskapi_db_pool_size",
        "taskapi_db_pool_used",
        "taskapi_db_pool_waiting",
        "taskapi_db_pool_max",
        "taskapi_db_pool_wait_seconds",
        "taskapi_db_connections_lost",
        "taskapi_db_round_trips",
        "taskapi_login_failures",
        "taskapi_build_info",
    }
    for family in text_string_to_metric_families(response.text):
        assert family.documentation
        assert not any("pid" in sample.labels for sample in family.samples)


def test_without_a_database_it_answers(make_service: MakeService) -> None:
    service = make_service(DATABASE_URL="postgresql://127.0.0.1:1/x", DB_POOL_TIMEOUT="0.2")
    service.start(ready=False)
    with service.client() as client:
        assert client.get("/ready").status_code == 503
    metrics = read_metrics(service)
    assert metrics["taskapi_requests_total", "GET", "/ready", "503"] == 1
    assert metrics["taskapi_db_pool_size",] == 0
    assert metrics["taskapi_db_round_trips_total",] == 0
    assert metrics["taskapi_db_pool_wait_seconds_total",] > 0.15


def test_the_counts_are_exact_over_all_workers(own_service: Service) -> None:
    """And none is lost or falls back when a worker is killed, or with a reload."""
    seen = {worker.pid for worker in workers(own_service)}
    spread(own_service, 100)
    total = 100
    before = read_metrics(own_service)
    pool_max = ("taskapi_db_pool_max",)
    key = ("taskapi_requests_total", "GET", "/health", "200")
    assert before[key] == total
    assert before["taskapi_request_duration_seconds_count", "GET", "/health"] == total
    assert before[pool_max] == 40
    folder = next(
        Path(line.split()[-1]).parent
        for line in Path(f"/proc/{min(seen)}/maps").read_text().splitlines()
        if "taskapi-metrics-" in line
    )
    files = len(list(folder.iterdir()))
    for round in range(4):
        if round % 2:
            assert own_service.process is not None
            own_service.process.send_signal(signal.SIGHUP)
        else:
            workers(own_service)[0].send_signal(signal.SIGKILL)

        def are_new(old: set[int] = frozenset(seen)) -> bool:  # type: ignore[assignment]
            pids = {worker.pid for worker in workers(own_service)}
            return len(pids) == 2 and len(pids - old) == (2 if round % 2 else 1)  # noqa: B023

        wait_until("new workers", are_new)
        seen |= {worker.pid for worker in workers(own_service)}
        wait_until("one to answer", lambda: own_service.answers("/ready"))
        spread(own_service, 50)
        total += 50
        after = read_metrics(own_service)
        assert after[key] == total
        for name, value in before.items():
            if name[0].endswith(("_total", "_count", "_bucket", "_sum")):
                assert after[name] >= value, name
        wait_until("both pools", lambda: read_metrics(own_service)[pool_max] == 40)
        before = after
        # A place's files are its next worker's: while a reload is on there are two more places.
        assert len(list(folder.iterdir())) <= files * 2
    assert own_service.stop() == 0
    assert not folder.exists()


def test_each_task_operation_is_one_round_trip(service: Service, user: Account) -> None:
    task = user.create()
    before = read_metrics(service)
    path = f"/{task['id']}"
    requests = [
        user.request("GET"),
        user.request("POST", json={"title": "t"}),
        user.request("POST", json={"title": "t"}, headers={"Idempotency-Key": "k"}),
        user.request("GET", path),
        user.request("PUT", path, json={"title": "t"}),
        user.request("PATCH", path, json={"title": "t"}),
        user.request("PATCH", f"{path}/complete"),
        user.request("DELETE", path),
        user.request("DELETE", path),
    ]
    after = read_metrics(service)

    def growth(*key: str) -> float:
        return after[key] - before.get(key, 0)

    assert growth("taskapi_db_round_trips_total") == len(requests)
    assert growth("taskapi_requests_total", "DELETE", TASK, "204") == 1
    assert growth("taskapi_requests_total", "DELETE", TASK, "404") == 1


def test_nobody_can_make_up_time_series(
    service: Service, client: httpx.Client, user: Account
) -> None:
    client.get("/x")
    client.request("BREW", "/health")
    user.request("GET", "/x")
    before = set(read_metrics(service))
    for number in range(50):
        assert client.get(f"/x{number}?y={number}").status_code == 404
        assert client.request(f"BREW{number}", "/health").status_code == 405
        assert user.request("GET", f"/{number}").status_code == 422
    assert set(read_metrics(service)) == before


def test_failed_logins_are_counted(
    shared_service: MakeService, database: psycopg.Connection
) -> None:
    service = shared_service(TRUSTED_PROXIES="1")
    failures = ("taskapi_login_failures_total",)
    with service.client() as client:
        client.headers["X-Forwarded-For"] = "203.0.113.77"
        user = Account.insert(client, database)
        before = read_metrics(service)[failures]
        for email in (user.email, new_email()):
            assert log_in(client, email, "wrong").status_code == 401
        assert user.request("GET", headers={"Authorization": "Bearer x"}).status_code == 401
    assert read_metrics(service)[failures] - before == 2


def test_the_pool_is_seen_while_it_is_busy(own_url: str, make_service: MakeService) -> None:
    """Summed over both workers, however the requests are shared between them."""
    # One worker may get all of them, and has places for one fewer than its threads.
    requests = 7
    service = make_service(
        DATABASE_URL=own_url, DB_POOL_MIN="1", DB_POOL_MAX="2", DB_STATEMENT_TIMEOUT="60",
        DB_POOL_TIMEOUT="60", DB_POOL_USER_MAX="8", WEB_THREADS="8",
    )  # fmt: skip
    service.start()
    with service.client() as client, ThreadPoolExecutor(requests) as threads:
        user = Account.insert(client, own_url)

        def pool() -> list[float]:
            metrics = read_metrics(service)
            return [metrics[f"taskapi_db_pool_{x}",] for x in ("size", "used", "waiting", "max")]

        with locked(own_url):
            answers = [threads.submit(httpx.get, service.url + user.tasks, headers=user.headers,
                                      timeout=60) for _ in range(requests)]  # fmt: skip

            def is_busy() -> bool:
                size, used, waiting, _ = pool()
                return 2 <= used <= size <= 4 and used + waiting == requests

            wait_until("all requests in two pools", is_busy)
        assert [answer.result().status_code for answer in answers] == [200] * requests
        wait_until("an idle pool", lambda: pool()[1:] == [0, 0, 4])
        metrics = read_metrics(service)
        assert metrics["taskapi_db_pool_wait_seconds_total",] > 0
        assert metrics["taskapi_request_duration_seconds_count", "GET", TASKS] == requests


POOL_SIZE = ("taskapi_db_pool_size",)


def test_connections_that_are_lost_are_counted(
    own_service: Service, own_client: httpx.Client, own_url: str
) -> None:
    """While idle, and while a statement runs."""
    user = Account.insert(own_client, own_url)
    before = read_metrics(own_service)
    with psycopg.connect(own_url, autocommit=True) as dba:
        cut = (
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE application_name = 'taskapi' AND datname = current_database()"
        )
        wait_until("all connections", lambda: read_metrics(own_service)[POOL_SIZE] >= 4)
        lost = len(dba.execute(cut).fetchall())
        assert lost >= 4
        lost_key = ("taskapi_db_connections_lost_total",)

        def count() -> float:
            assert user.request("GET").status_code == 200
            return read_metrics(own_service)[lost_key] - before[lost_key]

        wait_until("one to be found", lambda: count() >= 1)
        found = count()
        with ThreadPoolExecutor(1) as thread:
            with locked(own_url):
                answer = thread.submit(user.request, "POST", json={"title": "t"})
                waits = f"{cut} AND wait_event_type = 'Lock'"
                wait_until("a statement to cut", lambda: bool(dba.execute(waits).fetchall()))
            assert answer.result().status_code == 503
        assert found + 1 <= count() <= lost + 1


def test_who_runs_is_told(service: Service) -> None:
    [(name, *labels)] = [key for key in read_metrics(service) if key[0] == "taskapi_build_info"]
    assert name == "taskapi_build_info"
    assert labels[0].startswith("3.")
    assert labels[1] == VERSION
