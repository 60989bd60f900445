"""A client that repeats a request which the service is too busy for."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.support.service import wait_until


def until_served(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Return the first response that is not "Too many logins at once"."""
    responses: list[httpx.Response] = []

    def is_served() -> bool:
        responses.append(send())
        return responses[-1].status_code != 503 or "logins" not in responses[-1].text

    wait_until("a login or sign-up to be served", is_served)
    return responses[-1]
