"""A worker of gunicorn: its threads share all connections, and it ends without losing a request."""

from __future__ import annotations

import errno
import mmap
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socket import MSG_DONTWAIT, MSG_PEEK, socket
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

# How many clients each worker of this gunicorn has, and one more; 0 where there is no worker that
# accepts. It is made before they fork, so that all see it. A worker's place is its age, the number
# that gunicorn gives it: two that are 64 apart and share one are only worse at sharing clients.
CLIENTS = memoryview(mmap.mmap(-1, 64 * 4)).cast("I")
# Seconds for which a worker leaves a new client to one that has fewer.
COURTESY = 0.001
# Seconds until a client is accepted after there was no file descriptor for one.
EXHAUSTED = 0.1


def forget_clients(age: int) -> None:
    """Count nobody as a client of the worker of this age, which has ended, whatever it died of."""
    CLIENTS[age % len(CLIENTS)] = 0


class SharingWorker(ThreadWorker):  # type: ignore[misc]
    """Every thread waits on all connections, and the kernel hands each request to one of them.

    gunicorn's own threads get each request from the main thread and give it the connection back: an
    empty WSGI callable's answer takes 214 to 309 µs of processor time so, and 144 to 168 with this.
    """

    alive: bool

    def run(self) -> None:
        """Serve until the worker is told to end, then those who are there already."""
        self._lock = threading.Lock()
        self._requests = select.epoll()
        # Those that wait for a request, by number. Who takes one out, with the lock, may use or
        # close it, and nobody else. gunicorn looks at how many are kept.
        self._idle: dict[int, Any] = {}
        self.keepalived_conns = self._idle
        self._count(0)
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
        self._count(0)
        self.set_accept_enabled(False)
        # Who is in the queue is taken and the socket closed at once, so that a proxy is refused,
        # before it has sent anything, and asks the next server. gunicorn's own worker keeps it for
        # seconds and accepts nobody: the kernel lets clients in, and resets them in the end.
        for listener in self.sockets:
            listener.setblocking(False)
            while self.accept(listener):
                pass
            listener.close()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.nr_conns and (now := time.monotonic()) < deadline:
            self.notify()
            # A client may be sending its next request already: it is answered, and told of the end.
            self._close_idle(now + self.cfg.keepalive - STOP_KEEPALIVE_LINGER)
            self.wait_for_and_dispatch_events(0.1)

    def accept(self, listener: socket) -> bool:
        """Take a client, if no worker that has fewer does; tell whether there was one.

        The first worker to be ready takes all who come at once otherwise, and the other none.
        """
        if self.alive and self.nr_conns + 1 > min(filter(None, CLIENTS), default=1):
            time.sleep(COURTESY)
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self.log.error("No client can be accepted: %s", error.strerror)
                time.sleep(EXHAUSTED)
            return False
        conn = TConn(self.cfg, client, address, listener.getsockname())
        # A thread gets it when there is something to read, and needn't wait for that.
        conn.data_ready = True
        self._count(1)
        self._keep(conn, self._requests.register)
        return True

    def _serve(self) -> None:
        while True:
            [(number, _)] = self._requests.poll(maxevents=1)
            with self._lock:
                conn = self._idle.pop(number, None)
            if conn is None:
                continue  # the main thread has closed it meanwhile
            try:
                is_kept = self.handle(conn)
                # What has come behind a request doesn't make the socket readable any more.
                while is_kept and conn.parser.unreader.buf.getvalue():
                    is_kept = self.handle(conn)
            except BaseException:  # nobody would miss a thread that ends
                self.log.exception("A defect in a thread")
                is_kept = False
            if is_kept:
                self._keep(conn, self._requests.modify)
            else:
                self._close(conn, graceful=True)

    def _keep(self, conn: Any, wait: Callable[[int, int], None]) -> None:
        conn.set_timeout()
        number = conn.sock.fileno()
        with self._lock:  # or it may be closed before it waits
            self._idle[number] = conn
            wait(number, select.EPOLLIN | select.EPOLLONESHOT)

    def _close(self, conn: Any, *, graceful: bool) -> None:
        with suppress(OSError):  # gunicorn closes it itself after an error amid an answer
            conn.close(graceful)
        self._count(-1)
        if not (self.alive and self._accepting):
            self.method_queue.defer(lambda: None)  # wakes the main thread, which waits for this

    def _close_idle(self, now: float) -> None:
        for number, conn in self._idle.copy().items():
            with self._lock:
                # One that has sent something only waits for a thread.
                is_over = (
                    conn.timeout <= now
                    and not has_input(conn.sock)
                    and self._idle.get(number) is conn
                )
                if is_over:
                    del self._idle[number]
            if is_over:
                self._close(conn, graceful=False)

    def _count(self, change: int) -> None:
        with self._lock:
            self.nr_conns += change
            CLIENTS[self.age % len(CLIENTS)] = self.nr_conns + 1 if self.alive else 0


def has_input(client: socket) -> bool:
    """Tell whether a client has sent something that isn't read yet, or has hung up."""
    try:
        client.recv(1, MSG_PEEK | MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
