"""The application: `uvicorn fastapi_sqlmodel.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fastapi_sqlmodel import auth, tasks
from fastapi_sqlmodel.database import engine


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the pool at the end."""
    yield
    await engine.dispose()


app = FastAPI(title="Tasks", lifespan=lifespan)
app.include_router(auth.router)
app.include_router(tasks.router)


@app.get("/health")
async def health() -> dict[str, str]:
    """Tell that the process lives."""
    return {"status": "ok"}
