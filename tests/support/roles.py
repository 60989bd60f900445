"""The service's own login: what deploy/roles-of-*.sql set up."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from tests.support.fixtures import as_uri
from tests.support.service import ROOT, wait_until

# How the names of databases begin that have the migrations and the roles.
MIGRATED = "taskapi_migrated_"


def set_up_roles(url: str) -> None:
    """Run deploy/roles-of-*.sql as a superuser."""
    files = [ROOT / "deploy" / f"roles-of-{part}.sql" for part in ("server", "database")]
    with psycopg.connect(url, autocommit=True) as conn:

        def is_done() -> bool:
            try:
                for file in files:
                    conn.execute(file.read_bytes())
            except (errors.InternalError_, errors.UniqueViolation):
                return False  # roles belong to the server, and another process changes them too
            return True

        wait_until("the roles", is_done)


def as_service(url: str) -> str:
    """Return the URI that the service uses for a database of the tests' own server.

    That is the superuser's with the service's login, which has no password there.
    """
    given: dict[str, Any] = conninfo_to_dict(url)
    is_ours = str(given.get("dbname")).startswith(MIGRATED) and given.get("user") == "postgres"
    return as_uri(**{**given, "user": "taskapi"}) if is_ours else url
