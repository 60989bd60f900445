"""The change feed's tokens: where in the feed a client is."""

from __future__ import annotations

from taskapi.exceptions import InvalidInput, fault
from taskapi.tasks.pages import read_signed, sign
from taskapi.tasks.queries import FeedPosition


def make_token(position: FeedPosition, user_id: str) -> str:
    """Return the token of a position in the user's feed."""
    return sign(position, "changes", user_id)


def read_token(token: str | None, user_id: str) -> FeedPosition | None:
    """Return the position that `make_token` made the token of, or None without a token.

    Raises InvalidInput.
    """
    if token is None:
        return None
    position = read_signed(token, "changes", user_id)
    if position is None:
        raise InvalidInput(fault("query", "since", "Must be a token of this feed"))
    return FeedPosition(*position)
