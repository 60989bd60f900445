"""A client's connection: bytes that came and no thread has read yet, bytes that wait to be sent."""

from __future__ import annotations

import re
import time
from socket import MSG_PEEK, SHUT_WR, socket
from typing import Any

from gunicorn import http

from taskapi.web.payloads import MAX_BODY_BYTES

# Seconds that a client may take to send a request's head from its first byte on, to send the body
# after it, to receive some of a response, and to stop sending after the last response.
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
SEND_SECONDS = 30.0
LINGER_SECONDS = 2.0
# More than gunicorn's own limits of a head let through.
MAX_HEAD_BYTES = 256 * 1024
READ_BYTES = 64 * 1024
# How much of a refused body is read and thrown away.
MAX_DISCARDED_BYTES = 2 * 1024 * 1024

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)


class Client:
    """One connection. Reading and writing never block.

    It stands in for the socket that gunicorn writes responses to: `sendall` keeps what the kernel
    does not take.
    """

    def __init__(self, cfg: Any, connection: socket, address: Any, server: Any) -> None:
        connection.setblocking(False)
        self.cfg = cfg
        self.connection = connection
        self.client = address
        self.server = server
        # An empty source: gunicorn's parser reads the bytes that `receive` puts into its buffer.
        self.parser = http.get_parser(cfg, iter(()), address)
        self.unsent = bytearray()
        # The request is handled before its body has come, because the body will be refused.
        self.is_early = False
        self.is_last = False
        self.is_lingering = False
        self.deadline = time.monotonic() + cfg.keepalive
        self._needed: int | None = None
        self._started: float | None = None
        self._discarded = 0

    @property
    def sock(self) -> Client:
        """The object that gunicorn takes for the socket."""
        return self

    @property
    def is_idle(self) -> bool:
        """Whether the client has sent all of its requests, and received all responses."""
        return self._started is None and not self.unsent and not self.is_lingering

    def fileno(self) -> int:
        """Return the number of the connection."""
        return self.connection.fileno()

    def receive(self) -> bool:
        """Read what has come. Returns False if the client has closed the connection."""
        try:
            data = self.connection.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self.is_lingering:
            self._discarded += len(data)
            return bool(data) and self._discarded < MAX_DISCARDED_BYTES
        self.parser.unreader.buf.seek(0, 2)
        self.parser.unreader.buf.write(data)
        return bool(data)

    def has_request(self) -> bool:
        """Tell whether a request has come that can be handled without waiting for more."""
        buffered = self.parser.unreader.buf.getbuffer().nbytes
        if not buffered:
            self._started = None
            self.deadline = time.monotonic() + self.cfg.keepalive
            return False
        if self._started is None:
            self._started = time.monotonic()
            self.deadline = self._started + HEAD_SECONDS
        if self._needed is None:
            self._read_head(self.parser.unreader.buf.getvalue())
        return self._needed is not None and buffered >= self._needed

    def finish_request(self) -> None:
        """Get ready for the next request."""
        self._needed = self._started = None

    def sendall(self, data: bytes) -> None:
        """Send data, as far as the kernel takes it now."""
        if not self.unsent:
            data = data[self._send(data) :]
        if data:
            self.unsent += data

    send = sendall

    def flush(self) -> bool:
        """Send on. Returns False if something is left."""
        del self.unsent[: self._send(self.unsent)]
        self.deadline = time.monotonic() + SEND_SECONDS
        return not self.unsent

    def linger(self) -> None:
        """Send no more, and throw away what still comes.

        Closing at once would reset the connection if there are unread bytes, and the client might
        lose the response (RFC 9112, 9.6).
        """
        self.connection.shutdown(SHUT_WR)
        self.is_lingering = True
        self.deadline = time.monotonic() + LINGER_SECONDS

    def has_input(self) -> bool:
        """Tell whether the client has sent something that is not read yet, or has gone."""
        try:
            self.connection.recv(1, MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _read_head(self, data: bytes) -> None:
        end = data.find(HEAD_END)
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:  # the parser says which limit this exceeds
                self._needed, self.is_early = 0, True
            return
        length, head = end + len(HEAD_END), data[: end + 2]
        found = CONTENT_LENGTH.search(head)
        # Twelve digits are more than any limit, and few enough for a number.
        body = int(found[1][:12]) if found else 0
        self.is_early = body > MAX_BODY_BYTES or TRANSFER_ENCODING.search(head) is not None
        self._needed = length if self.is_early else length + body
        if self._needed > len(data):
            self.deadline = time.monotonic() + BODY_SECONDS
            if EXPECT.search(head):
                self.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.connection.send(data)
        except BlockingIOError:
            return 0
