"""The pool of a worker."""

import asyncpg

from starlette_asyncpg.settings import DATABASE_URL, DB_POOL_MAX, DB_POOL_MIN


def make_pool() -> asyncpg.Pool:
    """Return the pool; `async with` opens and closes it."""
    return asyncpg.create_pool(
        DATABASE_URL,
        min_size=DB_POOL_MIN,
        max_size=DB_POOL_MAX,
        reset=_keep_as_it_is,
    )


async def _keep_as_it_is(_connection: asyncpg.Connection) -> None:
    # asyncpg's own reset is a round trip after each query. Here no query leaves a setting, lock or
    # cursor behind.
    pass
