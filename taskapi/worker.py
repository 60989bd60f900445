"""A worker of gunicorn with threads, which serves those who have connected when it stops."""

from __future__ import annotations

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """The usual one keeps the listening socket for seconds after SIGTERM and accepts nothing.

    The kernel lets clients in all that time, and resets them when the worker ends. This one takes
    who is in the queue and closes the socket at once, so that a proxy is refused, before it has
    sent anything, and asks the next server.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop accepting for good once the worker is told to end."""
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
