"""Tokens, passwords, and who may do what."""

import time
from uuid import UUID

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from starlette_asyncpg.settings import JWT_EXPIRES_SECONDS, JWT_SECRET

ALGORITHM = "HS256"

# The parameters of taskapi/accounts/passwords.py.
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
UNKNOWN = hasher.hash("no account has this password")


def unauthorized(detail: str) -> HTTPException:
    """Return the exception that answers 401."""
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


def issue_token(user_id: str, email: str) -> str:
    """Return a token that is good for JWT_EXPIRES_SECONDS."""
    now = int(time.time())
    claims = {"sub": user_id, "email": email, "iat": now, "exp": now + JWT_EXPIRES_SECONDS}
    return jwt.encode(claims, JWT_SECRET, algorithm=ALGORITHM)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one; with no hash it isn't, after the same work."""
    try:
        hasher.verify(password_hash or UNKNOWN, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def authorize(request: Request) -> UUID:
    """Return the user's id from the token; 401 without a good one, 403 if the URL names another."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized("Missing authentication token")
    try:
        claims = jwt.decode(
            token, JWT_SECRET, algorithms=[ALGORITHM], options={"require": ["exp", "sub"]}
        )
        user_id = UUID(claims["sub"])
    except jwt.ExpiredSignatureError:
        raise unauthorized("Token expired") from None
    except (jwt.PyJWTError, ValueError):
        raise unauthorized("Invalid token") from None
    if user_id != request.path_params["user_id"]:
        raise HTTPException(403, "Access denied: user_id does not match the token")
    return user_id
