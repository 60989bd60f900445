"""Problem details (RFC 9457), and which Accept headers ask for them."""

from __future__ import annotations

import httpx
from werkzeug.http import HTTP_STATUS_CODES

from tests.support.checks import ERROR_MEMBERS, INTERNALS

PROBLEM = "application/problem+json"
FAULTS = "The request has faults"

# Named, and at least as welcome as application/json.
PREFERRED = [
    PROBLEM,
    "Application/Problem+JSON",
    f"{PROBLEM}, application/json",
    f"application/json,{PROBLEM}",
    f"{PROBLEM}, */*",
    f"text/html, {PROBLEM};q=1.000, application/*;q=0.8",
    f"{PROBLEM};charset=utf-8 , application/json",
    f"{PROBLEM} ; q=0.5",
    f"text/html, {PROBLEM};q=0.001",
]
NOT_PREFERRED = [
    "",
    "*/*",
    "application/*",
    "application/json",
    "application/problem+xml, application/json",
    f"{PROBLEM}x",
    f"x{PROBLEM}",
    f"{PROBLEM};q=0",
    f"{PROBLEM};q=0.000",
    f"{PROBLEM};q=0.9, application/json",
    f"{PROBLEM};q=0.9, */*",
    f"application/*, {PROBLEM};q=0.9",
    f"{PROBLEM};q=0.2, application/json;q=0.3",
    f"{PROBLEM};q=high",
    "nonsense;;=,",
]
# nginx can't compare two weights: it prefers JSON.
WEIGHED = [
    f"{PROBLEM};q=0.9, application/json;q=0.8",
    f"{PROBLEM};q=0.5, application/json;q=0.1, */*",
    f"{PROBLEM};q=0.5, application/json;q=0",
]


def assert_problem(response: httpx.Response, status: int, detail: str | None = None) -> None:
    """An error is problem details with a sentence; a 422 also lists its faults."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    assert response.headers["X-Request-ID"]
    # No cache may keep it, so none must know what it depends on.
    assert response.headers["Cache-Control"] == "no-store"
    assert "Vary" not in response.headers
    body = response.json()
    faults = body.pop("errors", None)
    for member in ERROR_MEMBERS.get(status, ()):
        body.pop(member, None)
    assert body == {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "detail": detail or body["detail"],
    }
    assert not INTERNALS.search(response.text), response.text
    assert (faults is not None) == (status == 422)
    if status == 422:
        assert body["detail"] == FAULTS
        assert faults
