"""gunicorn's threaded worker with another way to wait: slow clients hold no thread.

A thread gets a connection only when there is something to do: it reads what has come, handles the
request if all of it is there, and writes what the kernel takes. The rest waits in an epoll, with a
deadline; so does a 429 that is kept back. Not for TLS, which is the proxy's.

It relies on these parts of gunicorn 27.0: ThreadWorker's poller, method_queue, set_accept_enabled,
wait_for_and_dispatch_events and handle_request; Worker's nr, alive, notify and is_parent_alive; the
parser's unreader.buf and finish_body; a request's force_close, body.reader and
_expected_100_continue.
"""

from __future__ import annotations

import errno
import math
import mmap
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from socket import socket

from gunicorn import http
from gunicorn.workers.gthread import ThreadWorker

from taskapi.operations.client import Client
from taskapi.operations.gunicorn_errors import render_error

# How many clients each worker of this gunicorn has, and one more; 0 if there is no worker that
# accepts. It is created before they fork, so that all see it. A worker's slot is its age, a number
# that gunicorn gives it. Two workers 64 apart use one slot, and only share clients less evenly.
CLIENTS = memoryview(mmap.mmap(-1, 64 * 4)).cast("I")
# Seconds for which a worker leaves a new client to one that has fewer.
COURTESY = 0.001
# Seconds until a client is accepted after there was no file descriptor for one.
EXHAUSTED = 0.1
# Seconds after the order to stop until clients that still send or receive are cut off.
STOP_SECONDS = 5.0
# Seconds that a stopping worker leaves an idle connection open, for a request that is on its way.
STOP_IDLE_SECONDS = 2.0
# Bytes of unfinished requests and of responses that a worker keeps. Beyond, the client with most is
# cut off.
MAX_HELD_BYTES = 32 * 1024 * 1024

READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT if hasattr(select, "epoll") else 0
WRITE = select.EPOLLOUT | select.EPOLLONESHOT if hasattr(select, "epoll") else 0
# Nothing but the end of the connection.
KEEP_BACK = select.EPOLLONESHOT if hasattr(select, "epoll") else 0


def forget_clients(age: int) -> None:
    """Count no clients for the worker of this age, which has ended."""
    CLIENTS[age % len(CLIENTS)] = 0


class SharingWorker(ThreadWorker):  # type: ignore[misc]
    """Every thread waits on all connections, and the kernel hands each event to one of them.

    gunicorn's own threads get each request from the main thread and return the connection to it. An
    empty WSGI callable takes 214 to 309 µs of processor time that way, and 144 to 168 with this
    (make bench).
    """

    alive: bool
    # Counts a request that gunicorn refused, by status. gunicorn.conf.py sets it.
    count_refusal: Callable[[int], None] = staticmethod(lambda _status: None)
    # Seconds, at least one or none. gunicorn.conf.py sets it.
    refusal_delay = 0

    def run(self) -> None:
        """Serve until the worker is told to stop, then finish what is under way."""
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        # The connections that wait for an event, by number. Taking one out, with the lock, gives
        # the right to use it. gunicorn reads the length of keepalived_conns.
        self._waiting: dict[int, Client] = {}
        self.keepalived_conns = self._waiting
        self._held = 0
        # Clients whose response is kept back, in the order in which it is due.
        self._kept_back: deque[Client] = deque()
        self._count(0)
        self.poller.register(
            self.method_queue.fileno(), select.EPOLLIN, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        for _ in range(self.cfg.threads):
            threading.Thread(target=self._serve, daemon=True).start()
        while self.alive and self.is_parent_alive():
            self.notify()
            self.wait_for_and_dispatch_events(self._seconds_until_due())
            now = time.monotonic()
            self._send_due(now)
            self._close_overdue(now)
        self.alive = False
        self._count(0)
        self.set_accept_enabled(False)
        # Accept the clients in the queue and close the socket at once, so that a proxy is refused
        # before it has sent anything, and asks the next server. gunicorn's own worker keeps the
        # socket for seconds without accepting: the kernel accepts clients, and resets them later.
        for listener in self.sockets:
            listener.setblocking(False)
            while self.accept(listener):
                pass
            listener.close()
        self._drain(time.monotonic())

    def accept(self, listener: socket) -> bool:
        """Accept a client, unless a worker with fewer does. Returns whether there was one.

        Otherwise the first worker that is ready accepts all clients that come at once.
        """
        if self.alive and self.nr_conns + 1 > min(filter(None, CLIENTS), default=1):
            time.sleep(COURTESY)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        try:
            connection, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._make_room():
                return self.alive
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self.log.error("No client can be accepted: %s", error.strerror)
                time.sleep(EXHAUSTED)
            return False
        client = Client(self.cfg, connection, address, listener.getsockname(), self.refusal_delay)
        self._count(1)
        self._wait(client, READ, self._epoll.register)
        return True

    def _serve(self) -> None:
        while True:
            [(number, _)] = self._epoll.poll(maxevents=1)
            with self._lock:
                client = self._waiting.pop(number, None)
                if client is not None:
                    self._held -= client.held
            if client is None:
                continue  # the main thread has closed it meanwhile
            try:
                event = self._advance(client)
            except OSError:  # the client has gone
                event = 0
            except BaseException:  # a thread that ends would not be replaced
                self.log.exception("Unexpected exception in a thread")
                event = 0
            if event:
                self._wait(client, event, self._epoll.modify)
                if event == KEEP_BACK:
                    self._kept_back.append(client)
            else:
                self._close(client)

    def _advance(self, client: Client) -> int:
        """Do what can be done without waiting. Returns the event to wait for; 0 closes."""
        if client.unsent:
            if not client.flush():
                return WRITE
            if client.is_last:
                client.linger()
                return READ
        elif not client.has_more and not client.receive():
            return 0
        if client.is_lingering or not self._answer(client):
            return READ
        if client.unsent and (client.due or not client.flush()):
            return KEEP_BACK if client.due else WRITE
        if client.is_last:
            client.linger()
        # A socket is writable at once: the next request queues behind those of other clients.
        return WRITE if client.has_more else READ

    def _answer(self, client: Client) -> bool:
        """Handle one request. Returns False if none has come yet."""
        try:
            if not client.has_request():
                return False
            is_kept = self.handle_request(client.request, client) and not client.is_early
            # A body that the application did not read precedes the next request.
            client.is_last = not (is_kept and client.parser.finish_body())
        except (http.errors.NoMoreData, StopIteration) as error:
            self.log.debug("Closing connection. %s", type(error).__name__)
            client.is_last = True
        except OSError as error:
            self.log.debug("Closing connection. %s", error.strerror)
            client.is_last = True
        except Exception as error:
            self._answer_error(client, error)
            client.is_last = True
        client.finish_request()
        return True

    def _answer_error(self, client: Client, error: Exception) -> None:
        """Answer a request that gunicorn refuses, or that ended in a bug of its own."""
        response, status, line = render_error(error, client.head)
        self.count_refusal(status)
        if status == 500:
            self.log.exception("Unexpected exception")
        else:
            self.log.warning(line)
        with suppress(OSError):
            client.sendall(response)

    def _wait(self, client: Client, event: int, register: Callable[[int, int], None]) -> None:
        number = client.fileno()
        with self._lock:  # or it could be closed before it waits
            self._waiting[number] = client
            self._held += client.held
            register(number, event)
            is_much = self._held > MAX_HELD_BYTES
        if is_much:
            self._cut_off(max(list(self._waiting.values()), key=lambda other: other.held))

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest, or waits for longest."""
        waiting = list(self._waiting.values())
        waiting.sort(key=lambda client: (not client.is_idle, client.deadline))
        return any(self._cut_off(client) for client in waiting)

    def _seconds_until_due(self) -> float:
        """Return how long the main thread may wait: a second, in which no new response gets due."""
        if not self._kept_back:
            return 1.0
        return min(1.0, max(0.0, self._kept_back[0].due - time.monotonic()))

    def _send_due(self, now: float) -> None:
        """Let threads send the responses that have been kept back for long enough."""
        while self._kept_back and self._kept_back[0].due <= now:
            client = self._kept_back.popleft()
            with self._lock:
                if self._waiting.get(client.fileno()) is client:
                    self._epoll.modify(client.fileno(), WRITE)

    def _close_overdue(self, now: float) -> None:
        for client in list(self._waiting.values()):
            if client.deadline <= now:
                self._cut_off(client)

    def _drain(self, now: float) -> None:
        """Let requests under way end, and close the connections as they get idle."""
        deadline = now + self.cfg.graceful_timeout
        while self.nr_conns and time.monotonic() < deadline:
            self.notify()
            self._send_due(math.inf)
            for client in list(self._waiting.values()):
                allowed = STOP_IDLE_SECONDS if client.is_idle else STOP_SECONDS
                if time.monotonic() >= min(client.deadline, now + allowed):
                    self._cut_off(client)
            self.wait_for_and_dispatch_events(0.1)

    def _cut_off(self, client: Client) -> bool:
        """Close a connection that waits, unless it has become ready."""
        with self._lock:
            number = client.fileno()
            if self._waiting.get(number) is not client:
                return False
            if client.is_idle and client.has_input():
                return False  # its request only waits for a thread
            del self._waiting[number]
            self._held -= client.held
        self._close(client)
        return True

    def _close(self, client: Client) -> None:
        with suppress(OSError):
            client.close()
        self._count(-1)
        if not self.alive:
            self.method_queue.defer(lambda: None)  # wakes the main thread, which waits for this

    def _count(self, change: int) -> None:
        with self._lock:
            self.nr_conns += change
            CLIENTS[self.age % len(CLIENTS)] = self.nr_conns + 1 if self.alive else 0
