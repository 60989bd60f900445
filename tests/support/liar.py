"""taskapi with a lie in it, which LIE names, for the bench to find."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wsgi import app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LIE = os.environ["LIE"]
# Each so many-th answer is a lie.
SELDOM = 50
honest: WSGIApplication = app.wsgi_app
_answers: list[tuple[str, list[tuple[str, str]], bytes]] = []


def ask(environ: WSGIEnvironment, body: bytes, **changes: str) -> Any:
    """Return what the application answers."""
    head: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        head[:] = [status, headers]

    given = {**environ, **changes, "wsgi.input": io.BytesIO(body)}
    answer = b"".join(honest(given, start))
    return head[0], head[1], answer


def lie(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer wrk as the application does, mostly; and everybody else."""
    if environ.get("HTTP_USER_AGENT") != "taskapi-bench":
        return honest(environ, start_response)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if LIE == "unwritten":
        status, headers, answer = ask(environ, body, REQUEST_METHOD="GET")
        answer = json.dumps(json.loads(answer) | json.loads(body)).encode()
    else:
        status, headers, answer = ask(environ, body)
    _answers.append((status, headers, answer))
    if len(_answers) % SELDOM == 0:
        match LIE:
            case "another's":
                status, headers, answer = _answers[-2]
            case "twice":
                ask(environ, body)
            case "failing":
                status = "500 Internal Server Error"
    kept = [item for item in headers if item[0] != "Content-Length"]
    start_response(status, [*kept, ("Content-Length", str(len(answer)))])
    return [answer]


app.wsgi_app = lie  # type: ignore[method-assign]
