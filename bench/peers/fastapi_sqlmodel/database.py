"""The engine with its pool, and the session of a request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from fastapi_sqlmodel.settings import DATABASE_URL, DB_POOL_MAX, DB_POOL_MIN

# The settings of T006: with 5 and 20 a pool_size of 5 and a max_overflow of 15.
engine = create_async_engine(
    DATABASE_URL,
    pool_size=DB_POOL_MIN,
    max_overflow=DB_POOL_MAX - DB_POOL_MIN,
    pool_pre_ping=True,
    pool_recycle=3600,
)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Lend a session until the response is sent."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]
