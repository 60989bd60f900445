"""JSON Web Tokens (RFC 7519): our own, signed with HS256, and an identity provider's."""

from __future__ import annotations

import hmac
import time
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

import jwt

from taskapi import config
from taskapi.accounts import key_set
from taskapi.accounts.queries import User
from taskapi.accounts.schemas import ProviderClaimsSchema
from taskapi.exceptions import InvalidInput, InvalidToken, TokenExpired
from taskapi.web.payloads import load
from taskapi.web.uuids import parse_uuid

ALGORITHM = "HS256"
# The end of the year 9999 as Unix time: the last second that RFC 3339 can express.
LAST_SECOND = 253_402_300_799
# Seconds that an identity provider's clock may differ.
CLOCK_SKEW = 10
# Seconds that the database's clock may be ahead.
DATABASE_SKEW = 300
# How many verified tokens of our own a worker caches, at about 1 KiB each. Verifying a token takes
# 45 µs, finding it in the cache 3 (make bench-hot-path).
CACHED_TOKENS = 4096

# Of the UUIDs of an identity provider's users. It never changes: they would lose their tasks.
PROVIDERS = UUID("e7d06990-e6a5-45b6-89ee-f41acaad897b")

PROVIDER_CLAIMS = ProviderClaimsSchema()


class Identity(NamedTuple):
    """The user that a token was issued to."""

    user_id: str
    # The email in an identity provider's token; None for a token of our own.
    provider_email: str | None
    # Unix time; 0 if the token doesn't say.
    issued_at: float


class ExpectedClaims(NamedTuple):
    """The `iss` and `aud` that a token must have; None accepts any `iss`, and no `aud`."""

    issuer: str | None
    audience: str | None


def issue_token(user: User, issued_at: float) -> str:
    """Return a token for the user, valid for JWT_EXPIRES_SECONDS.

    `issued_at` is a Unix time of the database's clock, which also decides what is revoked.
    """
    settings = config.current()
    claims = {
        "sub": user["id"],
        "email": user["email"],
        "iat": issued_at,
        "exp": int(issued_at) + settings.jwt_expires_seconds,
        "jti": uuid4().hex,
    }
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    secret = settings.jwt_secrets[0]
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id(secret)})


def verify_token(token: str) -> Identity:
    """Return the user of a token that this service or the identity provider issued.

    Raises TokenExpired, IdentityProviderUnavailable, and InvalidToken for any other fault.
    """
    settings = config.current()
    expected = ExpectedClaims(settings.jwt_issuer, settings.jwt_audience)
    provider = key_set.current()
    try:
        if provider is not None:
            header = jwt.get_unverified_header(token)
            # The header only selects a key, and each key is for one algorithm.
            if header.get("alg") in key_set.ALGORITHMS:
                key = provider.find(header.get("kid", ""))
                claims = _decode(token, key, key.algorithm_name, expected, leeway=CLOCK_SKEW)
                email = load(PROVIDER_CLAIMS, claims)["email"]
                # The provider's clock may be ahead of the database's.
                issued_at = _read_time(claims, "iat") - CLOCK_SKEW
                return Identity(_read_provider_subject(claims), email, issued_at)
        identity, expires = _verify_ours(token, settings.jwt_secrets, expected)
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    # PyJWT doesn't catch what its parsers raise for text that isn't ASCII or is nested deeply.
    except (jwt.PyJWTError, UnicodeError, RecursionError, InvalidInput) as error:
        raise InvalidToken from error
    if expires <= time.time():
        raise TokenExpired
    return identity


@cache
def key_id(secret: str) -> str:
    """Return the `kid` of a secret, which reveals nothing about the secret."""
    return hmac.digest(secret.encode(), b"taskapi kid", "sha256").hex()[:16]


@lru_cache(CACHED_TOKENS)
def _verify_ours(
    token: str, secrets: tuple[str, ...], expected: ExpectedClaims
) -> tuple[Identity, int]:
    """Return the token's user, and when the token expires, in Unix seconds.

    A valid token stays valid until it expires, which the caller checks, or is revoked, which
    PostgreSQL checks in each request. `kid` names the secret;
    without a known `kid`, as in tokens of earlier releases, each secret is tried.
    """
    kid = jwt.get_unverified_header(token).get("kid")
    named = [secret for secret in secrets if key_id(secret) == kid]
    *others, last = named or secrets
    for secret in others:
        try:
            claims = _decode(token, secret, ALGORITHM, expected)
            break
        except jwt.InvalidSignatureError:
            continue
    else:
        claims = _decode(token, last, ALGORITHM, expected)
    user_id = parse_uuid(claims["sub"])
    if user_id is None:
        raise InvalidToken
    issued_at = _read_time(claims, "iat")
    if issued_at > time.time() + DATABASE_SKEW:
        raise InvalidToken
    return Identity(user_id, None, issued_at), int(claims["exp"])


def _decode(
    token: str, key: str | jwt.PyJWK, algorithm: str, expected: ExpectedClaims, *, leeway: float = 0
) -> dict[str, Any]:
    required = {"sub": True, "exp": True, "iss": expected.issuer, "aud": expected.audience}
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=expected.issuer,
        # Without JWT_AUDIENCE, PyJWT refuses a token that has an audience.
        audience=expected.audience,
        leeway=leeway,
        options={
            "require": [name for name, wanted in required.items() if wanted],
            # The database's clock, which dates our tokens, may be ahead of this machine's.
            "verify_iat": leeway > 0,
        },
    )
    # PyJWT accepts text and any number.
    if type(claims["exp"]) not in (int, float) or claims["exp"] > LAST_SECOND:
        raise InvalidToken
    return claims


def _read_time(claims: dict[str, Any], name: str) -> float:
    """Return a claim that is a Unix time, or 0 if it is none."""
    value = claims.get(name)
    is_time = isinstance(value, int | float) and 0 < value <= LAST_SECOND
    return float(value) if value is not None and is_time else 0.0


def _read_provider_subject(claims: dict[str, Any]) -> str:
    """Return the user's id: `sub` if it is a UUID, else one of version 5 (RFC 9562, 5.5).

    The issuer's namespace is a UUID in ours, and the user's id is one in the issuer's.
    """
    subject, issuer = claims["sub"], claims.get("iss")
    if user_id := parse_uuid(subject):
        return user_id
    if not subject or not issuer or not isinstance(issuer, str):
        raise InvalidToken
    return str(uuid5(uuid5(PROVIDERS, issuer), subject))
