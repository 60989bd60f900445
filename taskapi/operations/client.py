"""A client's connection: bytes that came and no thread has read yet, bytes that wait to be sent."""

from __future__ import annotations

import struct
import time
from socket import MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET, socket
from typing import Any

from gunicorn import http

from taskapi.web.payloads import MAX_BATCH_BYTES, MAX_BODY_BYTES

# Seconds that a client may take to send a request's head from its first byte on, to send the body
# after it, to receive some of a response, and to stop sending after the last response.
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
SEND_SECONDS = 30.0
LINGER_SECONDS = 2.0
# As deploy/nginx.conf has it.
MAX_HEAD_BYTES = 32 * 1024
READ_BYTES = 64 * 1024
# How much of a refused body is read and thrown away.
MAX_DISCARDED_BYTES = 2 * 1024 * 1024

HEAD_END = b"\r\n\r\n"
# For close(): throw away what the kernel has not sent yet.
NO_LINGER = struct.pack("ii", 1, 0)


class Client:
    """One connection. Reading and writing never block.

    It stands in for the socket that gunicorn writes responses to: `sendall` keeps what the kernel
    does not take, and a 429 for `refusal_delay` seconds.
    """

    def __init__(
        self, cfg: Any, connection: socket, address: Any, server: Any, refusal_delay: int
    ) -> None:
        connection.setblocking(False)
        self.cfg = cfg
        self.connection = connection
        self.client = address
        self.server = server
        self.refusal_delay = refusal_delay
        # An empty source: gunicorn's parser reads the bytes that `receive` puts into its buffer.
        self.parser = http.get_parser(cfg, iter(()), address)
        self.unsent = bytearray()
        # The request whose head has come.
        self.request: Any = None
        # What of that head precedes the empty line, as it came, once all of it has come.
        self.head = b""
        # It is handled before its body has come, because the body will be refused.
        self.is_early = False
        # Bytes have come behind the request that was handled last.
        self.has_more = False
        # No request follows the one that is being answered.
        self.is_last = False
        self.is_lingering = False
        # When the response may be sent, if it is one that is kept back.
        self.due = 0.0
        self.deadline = time.monotonic() + cfg.keepalive
        self._started: float | None = None
        self._discarded = 0

    @property
    def sock(self) -> Client:
        """The object that gunicorn takes for the socket."""
        return self

    @property
    def is_idle(self) -> bool:
        """Whether all requests that have come are answered, and all responses sent."""
        return self._started is None and not self.held and not self.is_lingering

    @property
    def held(self) -> int:
        """How many bytes of unfinished requests and of responses this connection keeps."""
        return len(self.unsent) + self._buffered

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
        """Tell whether a request has come that can be handled without waiting for more.

        Raises gunicorn's ParseException for what is not HTTP.
        """
        self.has_more = False
        if self.request is None and not self._read_head():
            return False
        return self.is_early or self._buffered >= self.request.body.reader.length

    def finish_request(self) -> None:
        """Get ready for the next request."""
        self.request = self._started = None
        self.head = b""
        self.has_more = self._buffered > 0
        self.deadline = time.monotonic() + self.cfg.keepalive

    def sendall(self, data: bytes) -> None:
        """Send data, as far as the kernel takes it now."""
        if not self.unsent and not self._keep_back(data):
            data = data[self._send(data) :]
        if data:
            self.unsent += data

    send = sendall

    def flush(self) -> bool:
        """Send on. Returns False if something is left."""
        self.due = 0.0
        del self.unsent[: self._send(self.unsent)]
        if self.unsent:
            self.deadline = time.monotonic() + SEND_SECONDS
            return False
        self.deadline = time.monotonic() + self.cfg.keepalive
        return True

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
        """Close the connection, with what has not been sent."""
        if self.unsent:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, NO_LINGER)
        self.connection.close()

    @property
    def _buffered(self) -> int:
        return int(self.parser.unreader.buf.getbuffer().nbytes)

    def _keep_back(self, data: bytes) -> bool:
        """Tell whether the response waits, whose first bytes these may be: a 429 does.

        Otherwise a client that repeats at once what was refused would keep the processors busy with
        refusals.
        """
        if self.refusal_delay and data.startswith(b"HTTP/") and data[9:12] == b"429":
            self.due = time.monotonic() + self.refusal_delay
        return self.due > 0

    def _read_head(self) -> bool:
        """Let gunicorn's parser read the head, once all of it has come."""
        if not self._buffered:
            return False
        if self._started is None:
            self._started = time.monotonic()
            self.deadline = self._started + HEAD_SECONDS
        data = self.parser.unreader.buf.getvalue()
        if (end := data.find(HEAD_END)) < 0:
            if self._buffered > MAX_HEAD_BYTES:
                raise http.errors.LimitRequestHeaders("no end of the head")
            return False
        self.head = data[:end]
        self.request = next(self.parser)
        is_batch = self.request.path.endswith("/tasks/batch")
        limit = MAX_BATCH_BYTES if is_batch else MAX_BODY_BYTES
        # Chunks have no length. The application refuses them.
        length: int = getattr(self.request.body.reader, "length", limit + 1)
        self.is_early = length > limit
        if self.is_early:
            self.request.force_close()
        elif self._buffered < length:
            self.deadline = time.monotonic() + BODY_SECONDS
            if self.request._expected_100_continue:
                self.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        # gunicorn would send it once more, or before the refusal.
        self.request._expected_100_continue = False
        return True

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.connection.send(data)
        except BlockingIOError:
            return 0
