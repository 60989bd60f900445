"""Connections below HTTP."""

from __future__ import annotations

import socket

from tests.support.service import PATIENCE, Service


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE)


def is_refused(service: Service) -> bool:
    try:
        connect(service).close()
    except ConnectionRefusedError:
        return True
    return False
