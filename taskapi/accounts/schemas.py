"""What a client may send about accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import ValidationError, validate

from taskapi.accounts.common_passwords import COMMON_PASSWORDS
from taskapi.web.fields import RequestSchema, StoredText, Text, length


def refuse_common_password(password: str) -> None:
    """Raise ValidationError for a password that guessers try first."""
    if password.lower() in COMMON_PASSWORDS:
        raise ValidationError("Is among the most common passwords")


# What a password must be to be set. A login takes any.
NEW_PASSWORD: list[Callable[[str], Any]] = [length(8, 128), refuse_common_password]


class ProviderClaimsSchema(RequestSchema):
    """The claims of an identity provider's token that are stored."""

    email = StoredText(
        required=True,
        validate=[
            length(0, 254),
            validate.Regexp(
                r"[^@\s]+@[^@\s]+\Z", error="Must be an email address with one @ and no white space"
            ),
        ],
    )


class SignupSchema(ProviderClaimsSchema):
    """The body of POST /api/auth/signup."""

    password = Text(required=True, validate=NEW_PASSWORD)


class LoginSchema(RequestSchema):
    """The body of POST /api/auth/login. Impossible credentials get 401, not 422."""

    email = StoredText(required=True)
    password = Text(required=True)


class ChangePasswordSchema(RequestSchema):
    """The body of PUT /api/auth/password."""

    password = Text(required=True)
    new_password = Text(required=True, validate=NEW_PASSWORD)


class CloseAccountSchema(RequestSchema):
    """The body of DELETE /api/auth/account."""

    password = Text(required=True)
