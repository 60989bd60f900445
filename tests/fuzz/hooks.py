"""What the fuzzer must know of a running service: who is logged in, and from where a call comes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

USER_ID = os.environ["FUZZ_USER_ID"]
REQUESTS = Path(os.environ["FUZZ_REQUESTS"])

# Faults of valid data: a cursor must come from a Link, a token from the feed, a key can be used for
# one task only, a password may be too common, and an id can appear once in a batch.
BEYOND_A_SCHEMA = (["query", "cursor"], ["query", "since"], ["header", "idempotency-key"])
BEYOND_A_PATTERN = ("Is among the most common passwords", "Appears twice")

# Counted without the white space at the ends.
MAX_TITLE = 500

CALLS: Iterator[int] = itertools.count()

# The queries of the last page's Link and its list, for cursors can't be made up.
NEXT: dict[str, str] = {}

# So that logins go on after the first 20 failures: another client every 60 logins.
LOGINS: Iterator[int] = itertools.count()


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Speak of the user whose token it is where the fuzzer has made up a valid id.

    Of two calls one prefers problem details.
    """
    meta = case.meta
    data = meta and meta.phase.data
    # A case about a header that is missing would no longer count as one.
    if next(CALLS) % 2 and getattr(data, "parameter_location", None) != ParameterLocation.HEADER:
        case.headers["Accept"] = "application/problem+json"
    if case.operation.path == "/api/auth/login":
        client = next(LOGINS) // 60
        case.headers["X-Forwarded-For"] = f"10.0.{client // 250}.{client % 250 + 1}"
    elif (
        "user_id" in case.path_parameters and meta is not None and meta.generation.mode.is_positive
    ):
        if case.path_parameters["user_id"] != "me":
            case.path_parameters["user_id"] = USER_ID
        if case.operation.path.endswith("/complete") and isinstance(case.body, dict):
            # No schema says that both must be the same.
            case.query.pop("completed", None)
        if NEXT and case.query.get("cursor"):
            case.query.clear()
            case.query.update(NEXT)


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Note what was asked, and what came."""
    with REQUESTS.open("a") as file:
        file.write(f"{case.method} {case.operation.path} {response.status_code}\n")
    for link in response.headers.get("link", []):
        NEXT.clear()
        NEXT.update(parse_qsl(urlsplit(link[1:].partition(">")[0]).query))


@schemathesis.hook
def filter_failure(
    context: HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Pass over what no schema can say, and nothing else.

    That is some 422s, titles of more than 500 characters with the white space at their ends, and a
    body without the value that the query has.
    """
    if isinstance(failure, AcceptedNegativeData):
        body = case.body if isinstance(case.body, dict) else {}
        if case.operation.path.endswith("/complete") and "completed" not in body:
            return case.query.get("completed") not in ("true", "false", True, False)
        title = body.get("title")
        return not (isinstance(title, str) and len(title.strip()) <= MAX_TITLE < len(title))
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    body = response.json()
    return not all(
        fault["loc"] in BEYOND_A_SCHEMA or fault["msg"] in BEYOND_A_PATTERN
        for fault in body.get("errors", body["detail"])
    )
