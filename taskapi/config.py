"""The configuration: read from the environment once, checked, never changed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from flask import current_app
from psycopg.conninfo import conninfo_to_dict

from taskapi.database.identity import derive_key

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
# An origin as browsers send it (RFC 6454, 6.2), which is without the scheme's default port.
ORIGIN = re.compile(
    r"(?!http:.*:80$|https:.*:443$)"
    r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
)
# The characters of a host and path that need no quoting in a Link.
BASE_URL = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~-]+)*/?"
)


class ConfigError(Exception):
    """A variable is missing or invalid. The message names it, in one line."""


@dataclass(frozen=True)
class Config:
    """The settings. docs/configuration.md and `.env.example` document each variable."""

    # Secrets: kept out of repr(), so that no traceback or log line shows them.
    database_url: str = field(repr=False)
    jwt_secrets: tuple[str, ...] = field(repr=False)
    jwt_expires_seconds: int
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_jwks_url: str | None
    db_identity_keys: tuple[bytes, ...] = field(repr=False)
    db_pool_min: int
    db_pool_max: int
    db_pool_user_max: int
    db_pool_timeout: float
    db_pool_max_lifetime: float
    db_statement_timeout: float
    db_search_timeout: float
    db_prepare: bool
    host: str
    port: int
    web_concurrency: int
    web_threads: int
    trusted_proxies: int
    max_tasks: int
    public_url: str | None
    signups_per_minute: int
    refusal_delay: int
    cors_origins: tuple[str, ...]
    log_level: str
    log_format: str
    log_successes: float
    metrics_bind: tuple[str, int] | None
    docs: bool


def current() -> Config:
    """Return the current application's configuration."""
    config: Config = current_app.extensions["taskapi.config"]
    return config


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Return the checked configuration. An empty variable counts as not set.

    Raises ConfigError.
    """
    config = Config(
        database_url=load_database_url(environ),
        jwt_secrets=_secrets(environ, "JWT_SECRET"),
        jwt_expires_seconds=_integer(environ, "JWT_EXPIRES_SECONDS", 604_800, 1, 10**9),
        jwt_issuer=_text(environ, "JWT_ISSUER"),
        jwt_audience=_text(environ, "JWT_AUDIENCE"),
        jwt_jwks_url=_url(environ, "JWT_JWKS_URL"),
        db_identity_keys=load_identity_keys(environ),
        db_pool_min=_integer(environ, "DB_POOL_MIN", 5, 0, 10_000),
        db_pool_max=_integer(environ, "DB_POOL_MAX", 20, 1, 10_000),
        db_pool_user_max=_integer(environ, "DB_POOL_USER_MAX", 2, 1, 10_000),
        db_pool_timeout=_seconds(environ, "DB_POOL_TIMEOUT", 5),
        db_pool_max_lifetime=_seconds(environ, "DB_POOL_MAX_LIFETIME", 3600),
        db_statement_timeout=_seconds(environ, "DB_STATEMENT_TIMEOUT", 5),
        db_search_timeout=_seconds(environ, "DB_SEARCH_TIMEOUT", 2),
        db_prepare=_choice(environ, "DB_PREPARE", "true", ("true", "false")) == "true",
        host=_host(environ, "HOST", "127.0.0.1"),
        port=_integer(environ, "PORT", 8000, 1, 65_535),
        web_concurrency=_integer(environ, "WEB_CONCURRENCY", 2, 1, 1000),
        web_threads=_integer(environ, "WEB_THREADS", 8, 1, 1000),
        trusted_proxies=_integer(environ, "TRUSTED_PROXIES", 0, 0, 100),
        public_url=_base_url(environ, "PUBLIC_URL"),
        max_tasks=_integer(environ, "MAX_TASKS", 100_000, 1, 10**9),
        signups_per_minute=_integer(environ, "SIGNUPS_PER_MINUTE", 20, 1, 1_000_000),
        refusal_delay=_integer(environ, "REFUSAL_DELAY", 1, 0, 10),
        cors_origins=_origins(environ, "CORS_ORIGINS"),
        log_level=_choice(environ, "LOG_LEVEL", "info", LOG_LEVELS),
        log_format=_choice(environ, "LOG_FORMAT", "auto", ("auto", "json", "text")),
        log_successes=_share(environ, "LOG_SUCCESSES", "1"),
        metrics_bind=_address(environ, "METRICS_BIND"),
        docs=_choice(environ, "DOCS", "on", ("on", "off")) == "on",
    )
    if config.db_pool_min > config.db_pool_max:
        raise ConfigError(
            f"DB_POOL_MIN ({config.db_pool_min}) must not exceed DB_POOL_MAX ({config.db_pool_max})"
        )
    return config


def load_database_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return DATABASE_URL, the only variable that migrations must have.

    Raises ConfigError. Its message doesn't show the value, which may contain a password.
    """
    url = environ.get("DATABASE_URL", "")
    if not url:
        raise ConfigError("DATABASE_URL is not set: give the PostgreSQL server's URI")
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError("DATABASE_URL must be a libpq URI that starts with postgresql://")
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigError("DATABASE_URL is not a valid libpq URI") from error
    return url


def load_identity_keys(environ: Mapping[str, str] = os.environ) -> tuple[bytes, ...]:
    """Return the keys of DB_IDENTITY_KEY, by default of JWT_SECRET; none if neither is set.

    Raises ConfigError.
    """
    secrets: tuple[str, ...] = ()
    if environ.get("DB_IDENTITY_KEY"):
        secrets = _secrets(environ, "DB_IDENTITY_KEY")
    elif environ.get("JWT_SECRET"):
        secrets = _secrets(environ, "JWT_SECRET")
    return tuple(map(derive_key, secrets))


def _secrets(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    secrets = tuple(item.strip() for item in environ.get(name, "").split(",") if item.strip())
    if not secrets:
        raise ConfigError(f"{name} is not set: give at least 32 random bytes")
    # A key for HS256 has at least the size of the hash (RFC 7518, 3.2).
    if any(len(os.fsencode(secret)) < 32 for secret in secrets):
        raise ConfigError(f"{name} is too short: give at least 32 bytes, and no comma within them")
    return secrets


def _text(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name) or None


def _url(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name) or None
    if value is not None and not re.fullmatch(r"https?://[^\s/]+/\S*", value):
        raise ConfigError(
            f"{name} must be a URL such as https://idp.example.com/jwks.json, not {value!r}"
        )
    return value


def _base_url(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name)
    if not value:
        return None
    found = BASE_URL.fullmatch(value)
    if not found or int((found[3] or ":1")[1:]) > 65_535:
        raise ConfigError(f"{name} must be a URL such as https://tasks.example.com, not {value!r}")
    return value.rstrip("/")


def _host(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name) or default
    if not re.fullmatch(r"unix:/\S+|(?!unix:)[0-9A-Za-z.:_%-]+", value):
        raise ConfigError(f"{name} must be an address, a name or unix:/path, not {value!r}")
    return value


def _address(environ: Mapping[str, str], name: str) -> tuple[str, int] | None:
    value = environ.get(name)
    if not value:
        return None
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})", value)
    if not found or not 1 <= int(found[2]) <= 65_535:
        raise ConfigError(f"{name} must be host:port, such as 127.0.0.1:9464, not {value!r}")
    return found[1].strip("[]"), int(found[2])


def _integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _seconds(environ: Mapping[str, str], name: str, default: int) -> float:
    value = environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value) or float(value) == 0:
        raise ConfigError(f"{name} must be a number of seconds above 0, not {value!r}")
    return float(value)


def _share(environ: Mapping[str, str], name: str, default: str) -> float:
    value = environ.get(name) or default
    if not re.fullmatch(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?", value):
        raise ConfigError(f"{name} must be a number from 0 to 1, such as 0.01, not {value!r}")
    return float(value)


def _choice(environ: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = (environ.get(name) or default).lower()
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _origins(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    items = environ.get(name, "").lower().split(",")
    origins = tuple(item.strip() for item in items if item.strip())
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"{name} must list exact origins such as https://app.example.com, not {origin!r}"
            )
    return origins
