"""One account or client misbehaves beside ten normal users: `make hostile` is the long form."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.faults.hostile import KINDS, Abuse, Noticed, measure
from tests.faults.report import choose
from tests.support.fixtures import MakeService

pytestmark = pytest.mark.slow


def describe(kind: Callable[[Abuse], None], noticed: Noticed) -> str:
    """Return a row of the table in docs/faults.md."""
    quiet, abused = (f"{seconds * 1000:.0f} ms" for seconds in noticed.p95)
    ratio = noticed.p95[1] / noticed.p95[0]
    before, peak = noticed.memory
    what = (kind.__doc__ or "").rstrip(".")
    return (
        f"| {what} | {noticed.requests:,} | {noticed.failed:.1%} | {quiet} | {abused} | "
        f"{ratio:.1f} | {before:.0f} MiB | {peak:.0f} MiB |"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_normal_users_are_served(
    own_url: str, make_service: MakeService, kind: Callable[[Abuse], None]
) -> None:
    service = make_service(DATABASE_URL=own_url, TRUSTED_PROXIES="1")
    service.start()
    with psycopg.connect(own_url, autocommit=True) as database:
        noticed = measure(service, database, kind, choose(3, 20))
    print(describe(kind, noticed))
    assert noticed.failed < 0.01, noticed
    assert noticed.memory[1] < 2 * noticed.memory[0], noticed
