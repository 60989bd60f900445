"""Tokens, passwords, and who may do what."""

import time
from typing import Annotated
from uuid import UUID

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fastapi_sqlmodel.models import User
from fastapi_sqlmodel.settings import JWT_EXPIRES_SECONDS, JWT_SECRET

ALGORITHM = "HS256"

# The parameters of taskapi/passwords.py.
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
UNKNOWN = hasher.hash("no account has this password")

bearer = HTTPBearer(auto_error=False)


def unauthorized(detail: str) -> HTTPException:
    """Return the exception that answers 401."""
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


def issue_token(user: User) -> str:
    """Return a token that is good for JWT_EXPIRES_SECONDS."""
    now = int(time.time())
    claims = {
        "sub": str(user.id),
        "email": user.email,
        "iat": now,
        "exp": now + JWT_EXPIRES_SECONDS,
    }
    return jwt.encode(claims, JWT_SECRET, algorithm=ALGORITHM)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one; with no hash it isn't, after the same work."""
    try:
        hasher.verify(password_hash or UNKNOWN, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


async def get_current_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> UUID:
    """Return the user's id from the token; 401 without a good one."""
    if credentials is None:
        raise unauthorized("Missing authentication token")
    try:
        claims = jwt.decode(
            credentials.credentials,
            JWT_SECRET,
            algorithms=[ALGORITHM],
            options={"require": ["exp", "sub"]},
        )
        return UUID(claims["sub"])
    except jwt.ExpiredSignatureError:
        raise unauthorized("Token expired") from None
    except (jwt.PyJWTError, ValueError):
        raise unauthorized("Invalid token") from None


async def verify_user_access(
    user_id: UUID, current_user: Annotated[UUID, Depends(get_current_user)]
) -> UUID:
    """Return the user's id; 403 if the URL names another's."""
    if user_id != current_user:
        raise HTTPException(403, "Access denied: user_id does not match the token")
    return current_user


CurrentUser = Annotated[UUID, Depends(verify_user_access)]
