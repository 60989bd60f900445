"""The task routes as Starlette's users write them who want speed: raw SQL, asyncpg, uvicorn."""
