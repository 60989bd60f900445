"""Tokens that the service must refuse."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt

from tests.support.service import SECRET

MISSING, INVALID, EXPIRED = "Missing authentication token", "Invalid token", "Token expired"
Claims = dict[str, Any]


def encode(data: object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header: object, claims: object, secret: str = SECRET) -> str:
    """Sign whatever it is with HS256; the library would refuse to."""
    signed = f"{encode(header)}.{encode(claims)}"
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{encode(signature)}"


HS256 = {"alg": "HS256", "typ": "JWT"}


def without(claims: Claims, name: str) -> Claims:
    return {key: value for key, value in claims.items() if key != name}


BAD_TOKENS: dict[str, tuple[Callable[[Claims], str], str]] = {
    "expired": (lambda c: forge(HS256, c | {"exp": int(time.time()) - 1}), EXPIRED),
    "expired long ago": (lambda c: forge(HS256, c | {"exp": 1}), EXPIRED),
    "expired at the epoch": (lambda c: forge(HS256, c | {"exp": 0}), EXPIRED),
    "expired before it": (lambda c: forge(HS256, c | {"exp": -1e9}), EXPIRED),
    "without exp": (lambda c: forge(HS256, without(c, "exp")), INVALID),
    "exp is null": (lambda c: forge(HS256, c | {"exp": None}), INVALID),
    "exp is text": (lambda c: forge(HS256, c | {"exp": str(c["exp"])}), INVALID),
    "exp is a boolean": (lambda c: forge(HS256, c | {"exp": True}), EXPIRED),
    "exp is a list": (lambda c: forge(HS256, c | {"exp": [c["exp"]]}), INVALID),
    "exp is infinite": (lambda c: forge(HS256, c | {"exp": float("inf")}), INVALID),
    "exp is no number": (lambda c: forge(HS256, c | {"exp": float("nan")}), INVALID),
    "exp is absurd": (lambda c: forge(HS256, c | {"exp": 10**40}), INVALID),
    "not yet good": (lambda c: forge(HS256, c | {"nbf": c["exp"]}), INVALID),
    "issued in the future": (lambda c: forge(HS256, c | {"iat": c["exp"]}), INVALID),
    "without sub": (lambda c: forge(HS256, without(c, "sub")), INVALID),
    "sub is empty": (lambda c: forge(HS256, c | {"sub": ""}), INVALID),
    "sub is null": (lambda c: forge(HS256, c | {"sub": None}), INVALID),
    "sub is a number": (lambda c: forge(HS256, c | {"sub": 5}), INVALID),
    "sub is a list": (lambda c: forge(HS256, c | {"sub": [c["sub"]]}), INVALID),
    "sub is no UUID": (lambda c: forge(HS256, c | {"sub": "admin"}), INVALID),
    "sub in braces": (lambda c: forge(HS256, c | {"sub": "{" + c["sub"] + "}"}), INVALID),
    "sub without dashes": (lambda c: forge(HS256, c | {"sub": c["sub"].replace("-", "")}), INVALID),
    "sub with NUL": (lambda c: forge(HS256, c | {"sub": c["sub"] + "\0"}), INVALID),
    "another secret": (lambda c: forge(HS256, c, "another secret of more than 32 bytes!"), INVALID),
    "an empty secret": (lambda c: forge(HS256, c, ""), INVALID),
    "alg none": (lambda c: f"{encode({'alg': 'none'})}.{encode(c)}.", INVALID),
    "alg None": (lambda c: f"{encode({'alg': 'None'})}.{encode(c)}.", INVALID),
    "alg none, signed": (lambda c: forge({"alg": "none"}, c), INVALID),
    "alg HS512": (lambda c: jwt.encode(c, SECRET * 2, algorithm="HS512"), INVALID),
    "alg HS384 in name": (lambda c: forge({"alg": "HS384"}, c), INVALID),
    "alg RS256 in name": (lambda c: forge({"alg": "RS256"}, c), INVALID),
    "alg is a list": (lambda c: forge({"alg": ["HS256"]}, c), INVALID),
    "without alg": (lambda c: forge({"typ": "JWT"}, c), INVALID),
    "a critical extension": (lambda c: forge(HS256 | {"crit": ["x"], "x": 1}, c), INVALID),
    "header is a list": (lambda c: forge(["HS256"], c), INVALID),
    "header is no JSON": (lambda c: forge(b"{", c), INVALID),
    "claims are a list": (lambda c: forge(HS256, [c]), INVALID),
    "claims are no JSON": (lambda c: forge(HS256, b"\xff\xfe"), INVALID),
    "claims nested deep": (lambda c: forge(HS256, b"[" * 2000 + b"]" * 2000), INVALID),
    "header nested deep": (lambda c: forge(b"[" * 2000 + b"]" * 2000, c), INVALID),
    "claims changed": (
        lambda c: swap_claims(forge(HS256, c), c | {"sub": str(uuid.uuid4())}),
        INVALID,
    ),
    "no signature": (lambda c: forge(HS256, c).rpartition(".")[0] + ".", INVALID),
    "two parts": (lambda c: forge(HS256, c).rpartition(".")[0], INVALID),
    "four parts": (lambda c: forge(HS256, c) + ".x", INVALID),
    "half a signature": (lambda c: forge(HS256, c)[:-20], INVALID),
    "not base64": (lambda c: "!.!.!", INVALID),
    "a word": (lambda c: "token", INVALID),
    "two words": (lambda c: f"{forge(HS256, c)} x", INVALID),
    "dots": (lambda c: "..", INVALID),
    "not ASCII": (lambda c: "ÿþý", INVALID),
    "very long": (lambda c: "x" * 6000, INVALID),
}


def swap_claims(token: str, claims: Claims) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{encode(claims)}.{signature}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
