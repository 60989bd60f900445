"""The task routes as FastAPI's users write them: SQLModel, asyncpg, uvicorn."""
