"""JSON Web Tokens (RFC 7519), signed with HS256."""

from __future__ import annotations

import time

import jwt

from taskapi import config
from taskapi.exceptions import InvalidToken, TokenExpired
from taskapi.identifiers import parse_uuid
from taskapi.queries import User

ALGORITHM = "HS256"
# The end of the year 9999, in seconds: the last that RFC 3339 can write.
LAST_SECOND = 253_402_300_799


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
    return jwt.encode(claims, settings.jwt_secret, algorithm=ALGORITHM)


def verify_token(token: str) -> str:
    """Return the id of the user that the token was issued to.

    Raises TokenExpired, or InvalidToken for anything else that is wrong with it.
    """
    try:
        claims = jwt.decode(
            token,
            config.current().jwt_secret,
            algorithms=[ALGORITHM],
            options={"require": ["sub", "exp"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    # PyJWT lets through what its parsers raise of text that isn't ASCII or is nested deep.
    except (jwt.PyJWTError, UnicodeError, RecursionError) as error:
        raise InvalidToken from error
    # PyJWT takes any text for `sub`, and for `exp` text and numbers of any size too.
    user_id = parse_uuid(claims["sub"])
    if user_id is None or type(claims["exp"]) not in (int, float) or claims["exp"] > LAST_SECOND:
        raise InvalidToken
    return user_id
