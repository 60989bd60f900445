"""A worker of gunicorn: its threads share all connections, and it ends without losing a request."""

from __future__ import annotations

import math
import mmap
import select
import threading
import time
from collections.abc import Callable
from socket import socket
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

NEXT_REQUEST = select.EPOLLIN | select.EPOLLONESHOT
# How many clients each worker of this gunicorn has, and one more; 0 where there is no worker. It is
# made before they fork, so that all see it. Two workers with 64 others between them share a place,
# which only makes them worse at sharing clients.
CLIENTS = memoryview(mmap.mmap(-1, 64 * 4)).cast("I")
# Seconds for which a worker leaves a new client to one that has fewer.
COURTESY = 0.001


class SharingWorker(ThreadWorker):  # type: ignore[misc]
    """Every thread waits on all connections, and the kernel hands each request to one of them.

    gunicorn's own threads get each request from the main thread and give it the connection back: an
    empty answer takes 215 to 310 µs of processor time so, and 145 to 170 with this.
    """

    alive: bool

    def leave(self) -> None:
        """Have no client any more; for whoever learns of the worker's end, whatever it died of."""
        CLIENTS[self.age % len(CLIENTS)] = 0

    def run(self) -> None:
        """Serve until the worker is told to end, then those who are there already."""
        self._counting = threading.Lock()
        self._count(0)
        self._requests = select.epoll()
        # Those that wait for a request, by number. Who takes one out may use or close it.
        self._idle: dict[int, Any] = {}
        self.poller.register(
            self.method_queue.fileno(), select.EPOLLIN, self.method_queue.run_callbacks
        )
        for _ in range(self.cfg.threads):
            threading.Thread(target=self._serve, daemon=True).start()
        while self.alive and self.is_parent_alive():
            self.notify()
            self.set_accept_enabled(self.nr_conns < self.worker_connections)
            self.wait_for_and_dispatch_events(1.0)
            self._close_idle(time.monotonic())
        self.alive = False
        self.set_accept_enabled(False)
        # A client may be sending its next request already: it is answered, and told of the end.
        lingering = time.monotonic() + STOP_KEEPALIVE_LINGER
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.nr_conns and (now := time.monotonic()) < deadline:
            self.notify()
            if now >= lingering:
                self._close_idle(math.inf)
            self.wait_for_and_dispatch_events(max(0.01, min(1.0, lingering - now)))

    def accept(self, listener: socket) -> None:
        """Take a client, if no worker that has fewer does; its requests are the threads'.

        The first worker to be ready takes all who come at once otherwise, and the other none.
        """
        if self.alive and self.nr_conns + 1 > min(filter(None, CLIENTS)):
            time.sleep(COURTESY)
        try:
            client, address = listener.accept()
        except OSError:
            return
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.data_ready = True
        self._count(1)
        self._keep(conn, self._requests.register)

    def _serve(self) -> None:
        while True:
            [(number, _)] = self._requests.poll(maxevents=1)
            conn = self._idle.pop(number, None)
            if conn is None:
                continue  # the main thread has just closed it
            is_kept = self.handle(conn)
            # What has come behind a request doesn't make the socket readable any more.
            while is_kept and conn.parser.unreader.buf.getvalue():
                is_kept = self.handle(conn)
            if is_kept:
                self._keep(conn, self._requests.modify)
            else:
                self._close(conn, graceful=True)

    def _keep(self, conn: Any, wait: Callable[[int, int], None]) -> None:
        conn.set_timeout()
        number = conn.sock.fileno()
        self._idle[number] = conn
        wait(number, NEXT_REQUEST)

    def _close(self, conn: Any, *, graceful: bool) -> None:
        conn.close(graceful)
        self._count(-1)
        if not self.alive:
            self.method_queue.defer(lambda: None)  # wakes the main thread, which may be done now

    def _close_idle(self, now: float) -> None:
        for number, conn in list(self._idle.items()):
            if conn.timeout <= now and self._idle.pop(number, None) is conn:
                self._close(conn, graceful=False)

    def _count(self, change: int) -> None:
        with self._counting:
            self.nr_conns += change
            CLIENTS[self.age % len(CLIENTS)] = self.nr_conns + 1

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop accepting for good once the worker is told to end.

        gunicorn's own keeps the listening socket for seconds then and accepts nothing: the kernel
        lets clients in all that time, and resets them when the worker ends. Here who is in the
        queue is taken and the socket closed at once, so that a proxy is refused, before it has sent
        anything, and asks the next server.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            listener.setblocking(False)
            accepted = -1
            while accepted < self.nr_conns:  # accept() doesn't say that there was none
                accepted = self.nr_conns
                self.accept(listener)
            listener.close()
