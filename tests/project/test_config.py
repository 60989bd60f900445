"""The configuration: a bad or missing value stops the program with one line that names it."""

from __future__ import annotations

import re

import pytest

from taskapi import create_app
from taskapi.config import ConfigError, load_config
from tests.support.service import ROOT, SECRET, run_command

GOOD = {"DATABASE_URL": "postgresql://user:hunter2@db/x", "JWT_SECRET": SECRET}

BAD = [
    ("DATABASE_URL", ""),
    ("DATABASE_URL", "mysql://hunter2@db/x"),
    ("DATABASE_URL", "host=db password=hunter2"),
    ("DATABASE_URL", "postgresql://db/x?hunter2=1"),
    ("DATABASE_URL", "postgresql://[hunter2/x"),
    ("JWT_SECRET", ""),
    ("JWT_SECRET", "hunter2" * 4),
    ("JWT_SECRET", "hunter2" * 4 + "," + "x" * 32),
    ("JWT_SECRET", "x" * 32 + ",hunter2"),
    ("JWT_SECRET", " , "),
    ("JWT_EXPIRES_SECONDS", "0"),
    ("JWT_EXPIRES_SECONDS", "-1"),
    ("JWT_EXPIRES_SECONDS", "7d"),
    ("JWT_EXPIRES_SECONDS", "1.5"),
    ("DB_IDENTITY_KEY", "hunter2"),
    ("DB_IDENTITY_KEY", "x" * 32 + ",hunter2"),
    ("DB_POOL_MIN", "-1"),
    ("DB_POOL_MIN", "21"),
    ("DB_POOL_MAX", "0"),
    ("DB_POOL_MAX", "4"),
    ("DB_POOL_MAX", "٢"),
    ("DB_POOL_TIMEOUT", "0"),
    ("DB_POOL_TIMEOUT", "soon"),
    ("DB_POOL_TIMEOUT", "inf"),
    ("DB_POOL_MAX_LIFETIME", "1e9"),
    ("DB_STATEMENT_TIMEOUT", "0.0"),
    ("DB_STATEMENT_TIMEOUT", "nan"),
    ("DB_PREPARE", "maybe"),
    ("HOST", "unix:run/taskapi.socket"),
    ("HOST", "127.0.0.1/8"),
    ("HOST", "[::1]"),
    ("PORT", "65536"),
    ("PORT", "http"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_THREADS", "1_0"),
    ("JWT_JWKS_URL", "idp.example.com/jwks.json"),
    ("JWT_JWKS_URL", "file:///etc/passwd"),
    ("JWT_JWKS_URL", "https://idp.example.com"),
    ("TRUSTED_PROXIES", "-1"),
    ("TRUSTED_PROXIES", "10.0.0.0/8"),
    ("PUBLIC_URL", "tasks.example.com"),
    ("PUBLIC_URL", "/tasks"),
    ("PUBLIC_URL", "ftp://tasks.example.com"),
    ("PUBLIC_URL", "https://"),
    ("PUBLIC_URL", "https://user@tasks.example.com"),
    ("PUBLIC_URL", "https://tasks.example.com:65536"),
    ("PUBLIC_URL", "https://tasks.example.com:0"),
    ("PUBLIC_URL", "https://tasks.example.com?x=1"),
    ("PUBLIC_URL", "https://tasks.example.com/#top"),
    ("PUBLIC_URL", "https://tasks.example.com//"),
    ("PUBLIC_URL", "https://tasks.example.com/a b"),
    ("PUBLIC_URL", "https://tasks_1.example.com"),
    ("SIGNUPS_PER_MINUTE", "0"),
    ("SIGNUPS_PER_MINUTE", "1000001"),
    ("SIGNUPS_PER_MINUTE", "20/min"),
    ("REFUSAL_DELAY", "11"),
    ("REFUSAL_DELAY", "0.5"),
    ("CORS_ORIGINS", "app.example.com"),
    ("CORS_ORIGINS", "https://app.example.com/"),
    ("CORS_ORIGINS", "https://a.example.com,*"),
    ("CORS_ORIGINS", "https://*.example.com"),
    ("CORS_ORIGINS", "https://.*"),
    ("CORS_ORIGINS", "https://[a-z]+.example.com"),
    ("CORS_ORIGINS", "https://a.example.com|https://b.example.com"),
    ("CORS_ORIGINS", "https://user@app.example.com"),
    ("CORS_ORIGINS", "https://app.example.com:443"),
    ("CORS_ORIGINS", "http://app.example.com:80"),
    ("CORS_ORIGINS", "https://"),
    ("CORS_ORIGINS", "null"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
    ("LOG_SUCCESSES", "1.5"),
    ("LOG_SUCCESSES", "-0"),
    ("LOG_SUCCESSES", "10%"),
    ("METRICS_BIND", "9464"),
    ("METRICS_BIND", ":9464"),
    ("METRICS_BIND", "127.0.0.1"),
    ("METRICS_BIND", "127.0.0.1:0"),
    ("METRICS_BIND", "127.0.0.1:65536"),
    ("METRICS_BIND", "::1:9464"),
    ("METRICS_BIND", "http://127.0.0.1:9464"),
    ("METRICS_BIND", "unix:/run/taskapi-metrics.socket"),
    ("DOCS", "maybe"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_it_rejects_a_bad_value(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as error:
        load_config({**GOOD, name: value})
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_the_defaults_are_the_contracts() -> None:
    config = load_config(GOOD)
    assert config.jwt_expires_seconds == 604_800
    assert (config.db_pool_min, config.db_pool_max) == (5, 20)
    assert (config.db_pool_timeout, config.db_pool_max_lifetime) == (5, 3600)
    assert config.db_statement_timeout == 5
    assert config.db_search_timeout == 2
    assert config.db_prepare
    assert (config.host, config.port) == ("127.0.0.1", 8000)
    assert (config.web_concurrency, config.web_threads) == (2, 8)
    assert (config.jwt_issuer, config.jwt_audience, config.jwt_jwks_url) == (None, None, None)
    assert (config.trusted_proxies, config.signups_per_minute) == (0, 20)
    assert config.public_url is None
    assert (config.cors_origins, config.log_level) == ((), "info")
    assert (config.log_format, config.log_successes) == ("auto", 1)
    assert config.metrics_bind is None
    assert config.docs


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("app1.internal:80", ("app1.internal", 80)),
    ],
)
def test_the_metrics_have_an_address_and_a_port(value: str, address: tuple[str, int]) -> None:
    assert load_config({**GOOD, "METRICS_BIND": value}).metrics_bind == address


def test_origins_are_as_browsers_send_them() -> None:
    value = " https://App.example.com, http://localhost:3000,http://[::1]:8080 "
    assert load_config({**GOOD, "CORS_ORIGINS": value}).cors_origins == (
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:8080",
    )


def test_secrets_are_separated_by_commas() -> None:
    secrets = ("x" * 32, "ä" * 16)
    assert (
        load_config({**GOOD, "JWT_SECRET": f" {secrets[0]} ,{secrets[1]},"}).jwt_secrets == secrets
    )


def test_an_empty_variable_is_not_set() -> None:
    example = (ROOT / ".env.example").read_text()
    names = re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)
    assert load_config(dict.fromkeys(names, "") | GOOD) == load_config(GOOD)


def test_the_example_documents_every_variable_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    variables = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert load_config(variables | GOOD) == load_config(GOOD)
    source = (ROOT / "taskapi" / "config.py").read_text()
    assert set(variables) == set(re.findall(r'environ, "([A-Z_]+)"', source)) | {
        "DATABASE_URL",
        "HOST",
    }


def test_secrets_are_not_shown_by_repr() -> None:
    assert "hunter2" not in repr(load_config(GOOD))
    assert SECRET not in repr(load_config(GOOD))


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"),
        ("-c", "import wsgi"),
        ("-m", "taskapi", "migrate", "apply"),
    ],
)
def test_a_program_stops_with_one_line(command: tuple[str, ...]) -> None:
    done = run_command(*command, DATABASE_URL="", JWT_SECRET=SECRET)
    assert done.returncode == 1
    assert done.stdout == ""
    line = "taskapi: DATABASE_URL is not set: give the PostgreSQL server's URI\n"
    assert done.stderr == line


def test_making_the_app_connects_to_nothing() -> None:
    """The pool is opened in each worker, after the fork."""
    url = "postgresql://127.0.0.1:1/nobody"
    app = create_app(load_config({**GOOD, "DATABASE_URL": url, "DB_POOL_TIMEOUT": "0.1"}))
    stats = app.extensions["taskapi.database"].stats()
    assert stats.get("connections_num", 0) == 0
    client = app.test_client()
    responses = [
        client.get("/ready"),
        client.post("/api/auth/login", json={"email": "", "password": ""}),
    ]
    for response in responses:
        assert response.status_code == 503
        assert response.json == {"detail": "The database is not available"}
