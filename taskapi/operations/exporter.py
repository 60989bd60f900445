"""The server of METRICS_BIND: it answers Prometheus's GET /metrics in gunicorn's main process.

It is one thread with asyncio, so it takes no thread from the workers and goes on while they are
replaced.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

# Connections at once. A further one closes the oldest, so nobody can occupy all of them.
CONNECTIONS = 16
# Seconds from a connection's start to the end of its response.
DEADLINE = 5.0
# Bytes of a request.
MAX_HEAD = 8192
# Seconds until the next attempt to accept a connection, for example without file descriptors.
PAUSE = 0.5


class Exporter:
    """Serves one resource, /metrics, with one request for each connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Listen on a host and port. Raises OSError."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family)
        self._listener.setblocking(False)
        self._clients: dict[socket.socket, asyncio.Task[None]] = {}

    def start(self, render: Callable[[], bytes]) -> None:
        """Respond with what `render` returns, until stop()."""
        self._render = render
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="taskapi-exporter", daemon=True
        )
        self._thread.start()
        # A worker that is forked while the thread imports a module could never import it.
        started.wait()

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self._loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join()
        self._listener.close()

    def close_in_worker(self) -> None:
        """Close a new worker's copies of the sockets. It has no copy of the thread."""
        for each in (self._listener, *self._clients):
            each.close()

    async def _run(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept())
        started.set()
        with suppress(asyncio.CancelledError):
            await self._accepting

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(PAUSE)
                continue
            client.setblocking(False)
            if len(self._clients) >= CONNECTIONS:
                next(iter(self._clients.values())).cancel()
            self._clients[client] = self._loop.create_task(self._serve(client))
            await asyncio.sleep(0)  # lets the tasks run: accepting doesn't while clients are queued

    async def _serve(self, client: socket.socket) -> None:
        head = b""
        try:
            async with asyncio.timeout(DEADLINE):
                while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
                    received = await self._loop.sock_recv(client, MAX_HEAD)
                    if not received:
                        return
                    head += received
                await self._loop.sock_sendall(client, self._respond(head))
        except OSError:
            pass  # the connection broke, or the deadline passed
        finally:
            del self._clients[client]
            # close() alone does not end it if a worker was forked before it was in _clients.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()

    def _respond(self, head: bytes) -> bytes:
        if head.startswith((b"GET /metrics HTTP/1.", b"GET /metrics?")):
            status, media_type, body = HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, self._render()
        else:
            body = b'{"detail":"Not found"}'
            status, media_type = HTTPStatus.NOT_FOUND, "application/json"
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {media_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + body
