"""JSON Web Tokens (RFC 7519): ours, signed with HS256, and those of an identity provider."""

from __future__ import annotations

import hmac
import time
from functools import cache, lru_cache
from typing import Any, NamedTuple

import jwt

from taskapi import config, key_set
from taskapi.exceptions import InvalidInput, InvalidToken, TokenExpired
from taskapi.identifiers import parse_uuid
from taskapi.queries import User
from taskapi.schemas import ProviderClaimsSchema, load

ALGORITHM = "HS256"
# The end of the year 9999, in seconds: the last that RFC 3339 can write.
LAST_SECOND = 253_402_300_799
# Seconds by which an identity provider's clock may be off; ours is our own.
CLOCK_SKEW = 10
# Tokens of our own that a worker remembers, at about 1 KiB each. To verify one takes 45 µs, to find
# one that was verified before 3 (make bench-hot-path).
REMEMBERED = 4096

PROVIDER_CLAIMS = ProviderClaimsSchema()


class Identity(NamedTuple):
    """Whom a token stands for."""

    user_id: str
    # The address that the identity provider vouches for; None in a token of our own.
    provider_email: str | None


class Names(NamedTuple):
    """Who must have issued a token, and for whom; None for anybody, and for nobody."""

    issuer: str | None
    audience: str | None


def issue_token(user: User) -> str:
    """Return a token for the user that is good for JWT_EXPIRES_SECONDS."""
    settings = config.current()
    now = int(time.time())
    claims = {
        "sub": user["id"],
        "email": user["email"],
        "iat": now,
        "exp": now + settings.jwt_expires_seconds,
    }
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    secret = settings.jwt_secrets[0]
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id(secret)})


def verify_token(token: str) -> Identity:
    """Return whom the token was issued to, by us or by the identity provider.

    Raises TokenExpired, IdentityProviderUnavailable, or InvalidToken for anything else that is
    wrong with it.
    """
    settings = config.current()
    names = Names(settings.jwt_issuer, settings.jwt_audience)
    provider = key_set.current()
    try:
        if provider is not None:
            header = jwt.get_unverified_header(token)
            # What the header claims only chooses between the keys, each for one algorithm.
            if header.get("alg") in key_set.ALGORITHMS:
                key = provider.find(header.get("kid", ""))
                claims = _decode(token, key, key.algorithm_name, names, leeway=CLOCK_SKEW)
                email = load(PROVIDER_CLAIMS, claims)["email"]
                return Identity(_read_subject(claims), email)
        user_id, expires = _verify_ours(token, settings.jwt_secrets, names)
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    # PyJWT lets through what its parsers raise of text that isn't ASCII or is nested deep.
    except (jwt.PyJWTError, UnicodeError, RecursionError, InvalidInput) as error:
        raise InvalidToken from error
    if expires <= time.time():
        raise TokenExpired
    return Identity(user_id, None)


@cache
def key_id(secret: str) -> str:
    """Return the `kid` of a secret, from which nothing can be learnt about it."""
    return hmac.digest(secret.encode(), b"taskapi kid", "sha256").hex()[:16]


@lru_cache(REMEMBERED)
def _verify_ours(token: str, secrets: tuple[str, ...], names: Names) -> tuple[str, int]:
    """Return the user's id and the time until which the token is good, in Unix seconds.

    Once right, a token stays right until it expires, which the caller checks. The secret is the one
    that `kid` names; each is tried where none does, as in tokens of earlier releases.
    """
    kid = jwt.get_unverified_header(token).get("kid")
    named = [secret for secret in secrets if key_id(secret) == kid]
    *others, last = named or secrets
    for secret in others:
        try:
            claims = _decode(token, secret, ALGORITHM, names)
            break
        except jwt.InvalidSignatureError:
            continue
    else:
        claims = _decode(token, last, ALGORITHM, names)
    return _read_subject(claims), int(claims["exp"])


def _decode(
    token: str, key: str | jwt.PyJWK, algorithm: str, names: Names, *, leeway: float = 0
) -> dict[str, Any]:
    required = {"sub": True, "exp": True, "iss": names.issuer, "aud": names.audience}
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=names.issuer,
        # Without JWT_AUDIENCE a token that names one is for somebody else, and PyJWT refuses it.
        audience=names.audience,
        leeway=leeway,
        options={"require": [name for name, wanted in required.items() if wanted]},
    )
    return claims


def _read_subject(claims: dict[str, Any]) -> str:
    """Return the user's id. PyJWT takes any text for it, and for `exp` text and any number too."""
    user_id = parse_uuid(claims["sub"])
    if user_id is None or type(claims["exp"]) not in (int, float) or claims["exp"] > LAST_SECOND:
        raise InvalidToken
    return user_id
