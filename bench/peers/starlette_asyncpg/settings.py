"""The configuration, from the environment; DATABASE_URL is a libpq URI."""

import os

DATABASE_URL = os.environ["DATABASE_URL"]
DB_POOL_MIN = int(os.environ["DB_POOL_MIN"])
DB_POOL_MAX = int(os.environ["DB_POOL_MAX"])
JWT_SECRET = os.environ["JWT_SECRET"]
JWT_EXPIRES_SECONDS = int(os.environ["JWT_EXPIRES_SECONDS"])
