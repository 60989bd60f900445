"""An identity provider: a JSON Web Key Set over HTTP, and tokens that its keys have signed."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Jwk = dict[str, Any]

GENERATE: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


def public_jwk(private_key: Any, kid: str, **members: str) -> Jwk:
    """Return the public half as a JSON Web Key."""
    public = private_key.public_key()
    for algorithm in (OKPAlgorithm, ECAlgorithm, RSAAlgorithm):
        try:
            jwk: Jwk = algorithm.to_jwk(public, as_dict=True)
        except (jwt.InvalidKeyError, AttributeError):
            continue
        return jwk | {"kid": kid, **members}
    raise TypeError(private_key)


class IdentityProvider:
    """Publishes its keys on a port of its own, and counts how often they are fetched."""

    def __init__(self) -> None:
        self.keys: list[Jwk] = []
        self.private: dict[str, tuple[str, Any]] = {}
        self.fetches = 0
        self.status = 200
        self.body: bytes | None = None
        # Unset, it answers nothing.
        self.answering = threading.Event()
        self.answering.set()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                provider.answering.wait()
                self.send_response(provider.status)
                self.end_headers()
                self.wfile.write(provider.body or json.dumps({"keys": provider.keys}).encode())

            def log_message(self, *args: Any) -> None:
                pass

            def handle(self) -> None:
                with suppress(OSError):  # whoever fetched has given up
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add_key(self, algorithm: str, kid: str | None = None, **members: str) -> str:
        """Publish a new key and return its id."""
        kid = kid or uuid.uuid4().hex
        self.private[kid] = (algorithm, GENERATE[algorithm]())
        self.keys.append(public_jwk(self.private[kid][1], kid, **members))
        return kid

    def sign(self, kid: str, named: str | None = "", **claims: Any) -> str:
        """Return a token for a new user, or as the claims say; None leaves one out.

        `named` is what its `kid` says instead of the key's own; None leaves it out.
        """
        algorithm, key = self.private[kid]
        user = {"sub": str(uuid.uuid4()), "email": f"{uuid.uuid4().hex}@idp.example"}
        now = int(time.time())
        claims = {**user, "iat": now, "exp": now + 3600, **claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {} if named is None else {"kid": named or kid}
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)
