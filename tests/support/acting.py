"""The parameters of sql/act_as.sql, signed as the service does."""

from __future__ import annotations

from typing import Any

from taskapi.database.identity import Signer, derive_key
from tests.support.service import SECRET

# For statements that are explained, or wait for a test.
SIGNER = Signer([derive_key(SECRET)], longest=3600)
UNSIGNED = {"expires_at": "", "signature": ""}


def act_as(role: str, *, user_id: Any = "", email: Any = "", **params: Any) -> dict[str, Any]:
    """Return the parameters for a user, an email or nobody."""
    return {
        "role": role,
        "user_id": user_id,
        "email": email,
        "statement_timeout": "5s",
        "issued_at": 0.0,
        "max_tasks": "100000",
        **SIGNER.sign(role, user_id if role == "taskapi_user" else email),
        **params,
    }
