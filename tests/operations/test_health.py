"""/health and /ready."""

from __future__ import annotations

import httpx

from taskapi.database.statements import released_migrations
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import free_port, wait_until


def test_health_tells_that_the_process_lives(client: httpx.Client) -> None:
    for _ in range(2):
        response = client.get("/health")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_tells_that_the_service_can_serve(client: httpx.Client) -> None:
    response = client.get("/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_without_a_database_it_lives_and_is_not_ready(make_service: MakeService) -> None:
    """Also at boot: the service starts, and tells."""
    url = f"postgresql://127.0.0.1:{free_port()}/x"
    service = make_service(DATABASE_URL=url, DB_POOL_TIMEOUT="0.2")
    service.start(ready=False)
    with service.client() as client:
        assert client.get("/health").status_code == 200
        assert_error(client.get("/ready"), 503, "The database is not available")


def test_it_is_ready_when_every_migration_is_applied(
    make_service: MakeService, empty_database: str
) -> None:
    service = make_service(DATABASE_URL=empty_database)
    service.start(ready=False)
    with service.client() as client:
        assert_error(client.get("/ready"), 503, "The database lacks migrations")
        apply_migrations(empty_database)
        assert client.get("/ready").status_code == 200
        last = released_migrations()[-1]
        assert rollback_migrations(empty_database) == [last]
        assert_error(client.get("/ready"), 503, "The database lacks migrations")
    wait_until("the log to name it", lambda: last in service.log.read_text())
