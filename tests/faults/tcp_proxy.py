"""A TCP proxy that cuts, delays and truncates what goes through it."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

CHUNK = 65_536
# SO_LINGER: on, 0 seconds: close() resets the connection instead of ending it in order.
RESET = struct.pack("ii", 1, 0)


class TcpProxy:
    """Passes connections on to a port of this machine; set `fault` to harm what passes.

    `cut` resets the connection instead of passing something on, in either direction, so that a
    statement may have been done or not; `delay` holds everything back for a while; `truncate`
    passes the first half on and then closes. Each befalls one in `one_in` of the pieces that pass.
    """

    def __init__(self, port: int, *, one_in: int = 50, delay: float = 0.2) -> None:
        self.target = port
        self.one_in = one_in
        self.delay = delay
        self.fault: str | None = None
        self.harmed = 0
        self._random = random.Random(port)
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # shutdown() wakes the thread that accepts; close() alone doesn't.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            pair = (client, server)
            for side in pair:
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.update(pair)
            ended = threading.Barrier(2, action=lambda pair=pair: self._close(pair))  # type: ignore[misc]
            self._start(self._pump, client, server, ended)
            self._start(self._pump, server, client, ended)

    def _close(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for side in pair:
            self._connections.discard(side)
            side.close()

    def _pump(self, source: socket.socket, sink: socket.socket, ended: threading.Barrier) -> None:
        """Pass on what one side says, until there is no more or a fault ends the connection."""
        with suppress(OSError):
            while data := source.recv(CHUNK):
                fault = self.fault if self._random.randrange(self.one_in) == 0 else None
                self.harmed += fault is not None
                if fault == "cut":
                    for side in (source, sink):
                        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    break
                if fault == "truncate":
                    sink.sendall(data[: len(data) // 2])
                    break
                if fault == "delay":
                    time.sleep(self.delay)
                sink.sendall(data)
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        ended.wait()
