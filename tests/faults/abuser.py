"""A client that misbehaves: a process of its own, which stands for machines elsewhere.

It gets what to do as JSON in its first line of standard input, says `ready`, and goes on until its
input ends. Then it prints the statuses it got, and the processor time it took, as JSON.

It has the lowest priority, because elsewhere it would take nothing of the service's processors.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

# Threads that send requests.
THREADS = 16
ADDRESS = "127.0.2.1"
# Replaced in each request by something new.
UNIQUE = "UNIQUE"
TIMEOUT = 60.0


class Door(NamedTuple):
    """The way to the service: a port of this machine, and the certificate if it speaks TLS."""

    port: int
    certificate: str | None = None

    def connect(self, address: str) -> http.client.HTTPConnection:
        """Return a connection from an address of this machine, which is opened when it is used."""
        if self.certificate is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, TIMEOUT, (address, 0))
        return http.client.HTTPSConnection(
            "127.0.0.1",
            self.port,
            timeout=TIMEOUT,
            source_address=(address, 0),
            context=ssl.create_default_context(cafile=self.certificate),
        )


class Request(NamedTuple):
    """A request that is sent as often as it is answered, from all threads."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None


class Held(NamedTuple):
    """Connections that are kept open after some bytes."""

    connections: int
    data: str


class Plan(NamedTuple):
    """What an abuser does."""

    request: Request | None = None
    # Bytes for which a connection is opened as often as it is closed, from all threads.
    raw: str | None = None
    held: tuple[Held, ...] = ()


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: str | None = None,
) -> tuple[int, bytes]:
    """Send a request and return the response's status and body; 0 if there is none."""
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (http.client.HTTPException, OSError):
        connection.close()
        return 0, b""


class Abuser:
    """Does what a plan says, from 16 threads."""

    def __init__(self, door: Door, plan: Plan) -> None:
        self.statuses: Counter[int] = Counter()
        self._door = door
        self._plan = plan
        self._ended = threading.Event()

    def run_until_input_ends(self) -> None:
        """Start, say so, and go on until the end of standard input."""
        with ExitStack() as stack:
            for held in self._plan.held:
                for _ in range(held.connections):
                    with suppress(OSError):
                        connection = self._door.connect(ADDRESS)
                        connection.connect()
                        stack.callback(connection.close)
                        connection.sock.sendall(held.data.encode("latin-1"))
            send_one = self._send_request if self._plan.request else self._send_raw
            threads = [threading.Thread(target=send_one) for _ in range(THREADS)]
            if not self._plan.held:
                for thread in threads:
                    thread.start()
                    stack.callback(thread.join)
            print("ready", flush=True)
            sys.stdin.read()
            self._ended.set()

    def _send_request(self) -> None:
        assert self._plan.request is not None
        method, path, headers, body = self._plan.request
        connection = self._door.connect(ADDRESS)
        while not self._ended.is_set():
            unique = body and body.replace(UNIQUE, uuid.uuid4().hex)
            status, _ = send(connection, method, path, headers, unique)
            self.statuses[status] += 1
        connection.close()

    def _send_raw(self) -> None:
        assert self._plan.raw is not None
        while not self._ended.is_set():
            connection = self._door.connect(ADDRESS)
            status = 0
            with suppress(OSError):
                connection.connect()
                connection.sock.sendall(self._plan.raw.encode("latin-1"))
                status = int(connection.sock.recv(100)[9:12] or 0)
            connection.close()
            self.statuses[status] += 1


def main() -> None:
    """Misbehave as standard input says."""
    os.nice(19)
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    request, raw, held = told["plan"]
    plan = Plan(request and Request(*request), raw, tuple(Held(*each) for each in held))
    abuser = Abuser(Door(*told["door"]), plan)
    began = time.process_time()
    abuser.run_until_input_ends()
    seconds = time.process_time() - began
    print(json.dumps({"statuses": abuser.statuses, "seconds": seconds}))


if __name__ == "__main__":
    main()
