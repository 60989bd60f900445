"""Django's settings: no more than an API of this size needs, and none for debugging."""

import os

from psycopg.conninfo import conninfo_to_dict

_database = conninfo_to_dict(os.environ["DATABASE_URL"])

DEBUG = False
ALLOWED_HOSTS = ["*"]
SECRET_KEY = os.environ["JWT_SECRET"]
JWT_EXPIRES_SECONDS = int(os.environ["JWT_EXPIRES_SECONDS"])

INSTALLED_APPS = ["rest_framework", "tasks"]
# Without it answers bear no Content-Length, and gunicorn sends them in chunks.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
APPEND_SLASH = False
ROOT_URLCONF = "project.urls"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database["dbname"],
        "USER": _database.get("user"),
        "PASSWORD": _database.get("password"),
        "HOST": _database.get("host"),
        "PORT": _database.get("port"),
        "OPTIONS": {
            "pool": {
                "min_size": int(os.environ["DB_POOL_MIN"]),
                "max_size": int(os.environ["DB_POOL_MAX"]),
            },
        },
    }
}

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tasks.security.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tasks.security.IsUserOfURL"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "tasks.errors.answer_exception",
    # django.contrib.auth isn't installed.
    "UNAUTHENTICATED_USER": None,
}
