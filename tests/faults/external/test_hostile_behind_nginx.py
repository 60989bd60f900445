"""One account or client misbehaves beside ten normal users, all of them behind nginx."""

from __future__ import annotations

import socket
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.hostile import KINDS, Abuse, Door, conclude, measure
from tests.faults.report import choose
from tests.support.fixtures import MakeService
from tests.support.nginx import Nginx
from tests.support.service import PATIENCE

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_normal_users_are_served_behind_nginx(
    own_url: str, make_service: MakeService, kind: Callable[[Abuse], None]
) -> None:
    """Without nginx's limits for each client, which would end most of the abuse."""
    service = make_service(DATABASE_URL=own_url, TRUSTED_PROXIES="1", SIGNUPS_PER_MINUTE="20")
    service.start()
    with (
        Nginx([service.port], limits=False) as nginx,
        psycopg.connect(own_url, autocommit=True) as database,
    ):

        def connect() -> socket.socket:
            plain = socket.create_connection(("127.0.0.1", nginx.port), PATIENCE)
            return nginx.tls().wrap_socket(plain, server_hostname="127.0.0.1")

        door = Door(nginx.client, connect)
        noticed = measure([service], door, database, kind, choose(4, 20))
        conclude(kind, noticed, ", behind nginx")
