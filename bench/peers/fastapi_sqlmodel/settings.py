"""The configuration, from the environment; DATABASE_URL is a libpq URI."""

import os

from sqlalchemy import make_url

# asyncpg takes the folder of a Unix socket from the query's `host`, as libpq does.
DATABASE_URL = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg")
DB_POOL_MIN = int(os.environ["DB_POOL_MIN"])
DB_POOL_MAX = int(os.environ["DB_POOL_MAX"])
JWT_SECRET = os.environ["JWT_SECRET"]
JWT_EXPIRES_SECONDS = int(os.environ["JWT_EXPIRES_SECONDS"])
