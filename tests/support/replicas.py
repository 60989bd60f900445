"""Offline clients, as examples/offline has them, behind a connection that fails on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from offline_tasks import OfflineTasks

from tests.support.accounts import Account
from tests.support.feeds import read_list
from tests.support.service import PATIENCE

# What a request may meet. All but the first two reach the service.
FAULTS = ("unsent", "refused", "lost", "lost with 503", "overtaken", "none")


class Unreliable(httpx.BaseTransport):
    """Sends requests by another transport. The next ones meet `faults`, then all arrive."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner
        self.faults: list[str] = []
        self.seen: list[httpx.Request] = []
        # Writes by another client, right before a request that is overtaken
        self.overtake: Callable[[], Any] = lambda: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        fault = self.faults.pop(0) if self.faults else "none"
        busy = httpx.Response(503, request=request)
        if fault == "unsent":
            raise httpx.ConnectError("unsent", request=request)
        if fault == "refused":
            return busy
        if fault == "overtaken":
            self.overtake()
        self.seen.append(request)
        response = self.inner.handle_request(request)
        if fault in ("none", "overtaken"):
            return response
        response.read()
        response.close()
        if fault == "lost":
            raise httpx.ReadTimeout("lost", request=request)
        return busy


class Replica(OfflineTasks):
    """An offline client of a user, whose connection can be told to fail."""

    def __init__(self, user: Account, inner: httpx.BaseTransport, file: Path) -> None:
        self.transport = Unreliable(inner)
        base_url = user.client.base_url
        super().__init__(
            httpx.Client(
                transport=self.transport, base_url=base_url, headers=user.headers, timeout=PATIENCE
            ),
            file,
        )

    def sync_with(self, *faults: str) -> bool:
        """Sync while the next requests meet these faults. Returns whether it came to its end."""
        self.transport.faults = [*faults]
        try:
            self.sync()
        except httpx.TransportError:
            return False
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (429, 503):
                raise
            return False
        finally:
            self.transport.faults = []
        return True

    def batches(self) -> list[list[dict[str, Any]]]:
        """Return the operations of each batch that has reached the service."""
        bodies = [json.loads(one.content) for one in self.transport.seen if one.method == "POST"]
        return [body["operations"] for body in bodies]


def assert_same(user: Account, *replicas: OfflineTasks) -> None:
    """Each copy is the list, byte for byte, and has no edit left."""
    tasks = read_list(user)
    for replica in replicas:
        assert not replica.pending()
        assert not replica.state.sent
        copy = replica.state.tasks
        assert set(copy) == set(tasks)
        assert [json.dumps(copy[id]) for id in tasks] == [json.dumps(tasks[id]) for id in tasks]
