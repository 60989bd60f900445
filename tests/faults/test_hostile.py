"""One account or client misbehaves beside ten normal users: `make hostile` is the long form."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.faults.hostile import KINDS, Abuse, conclude, directly, measure
from tests.faults.report import choose
from tests.support.fixtures import MakeService

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_normal_users_are_served(
    own_url: str, make_service: MakeService, kind: Callable[[Abuse], None]
) -> None:
    service = make_service(DATABASE_URL=own_url, TRUSTED_PROXIES="1", SIGNUPS_PER_MINUTE="20")
    service.start()
    with psycopg.connect(own_url, autocommit=True) as database:
        conclude(kind, measure([service], directly(service), database, kind, choose(3, 20)))
