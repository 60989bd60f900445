"""Tokens, passwords, and who may do what."""

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tasks.models import User

if TYPE_CHECKING:  # it imports this module, by the settings
    from rest_framework.views import APIView

ALGORITHM = "HS256"

# The parameters of taskapi/passwords.py.
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
UNKNOWN = hasher.hash("no account has this password")


def issue_token(user: User) -> str:
    """Return a token that is good for JWT_EXPIRES_SECONDS."""
    now = int(time.time())
    claims = {
        "sub": str(user.id),
        "email": user.email,
        "iat": now,
        "exp": now + settings.JWT_EXPIRES_SECONDS,
    }
    return jwt.encode(claims, settings.SECRET_KEY, algorithm=ALGORITHM)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one; with no hash it isn't, after the same work."""
    try:
        hasher.verify(password_hash or UNKNOWN, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


class JWTAuthentication(BaseAuthentication):
    """The user that a Bearer token names, without asking the database for it."""

    def authenticate(self, request: Request) -> tuple[User, dict[str, Any]] | None:
        scheme, _, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            claims = jwt.decode(
                token,
                settings.SECRET_KEY,
                algorithms=[ALGORITHM],
                options={"require": ["exp", "sub"]},
            )
            return User(id=UUID(claims["sub"])), claims
        except jwt.ExpiredSignatureError:
            raise AuthenticationFailed("Token expired") from None
        except (jwt.PyJWTError, ValueError):
            raise AuthenticationFailed("Invalid token") from None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsUserOfURL(BasePermission):
    """Allows a request whose URL names the token's user."""

    message = "Access denied: user_id does not match the token"

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if request.user is None:
            raise NotAuthenticated("Missing authentication token")
        return request.user.id == view.kwargs["user_id"]
