"""`python -m taskapi accounts`: what an operator can do for a user."""

from __future__ import annotations

import subprocess
import sys

import httpx

from tests.support.accounts import PASSWORD, Account, log_in, new_email
from tests.support.checks import assert_error
from tests.support.service import PATIENCE, ROOT, SECRET, environment


def run(
    url: str, command: str, email: str, *options: str, answers: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskapi", "accounts", command, email, *options],
        cwd=ROOT,
        env=environment(DATABASE_URL=url, JWT_SECRET=SECRET),
        input=answers,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def test_show(user: Account, database_url: str) -> None:
    user.create()
    done = run(database_url, "show", user.email.upper())
    assert done.returncode == 0, done.stderr
    assert f"id: {user.id}\nemail: {user.email}\n" in done.stdout
    assert done.stdout.endswith("tasks: 1\n")
    assert "argon2" not in done.stdout


def test_revoke_tokens_asks_first(user: Account, database_url: str) -> None:
    refused = run(database_url, "revoke-tokens", user.email, answers="n\n")
    assert refused.returncode != 0
    assert user.request("GET").status_code == 200
    done = run(database_url, "revoke-tokens", user.email, answers="y\n")
    assert done.returncode == 0, done.stderr
    assert f"tokens revoked: {user.id}" in done.stdout
    # A line in the log, too
    assert user.id in done.stderr
    assert_error(user.request("GET"), 401, "Invalid token")


def test_reset_password(user: Account, client: httpx.Client, database_url: str) -> None:
    short = run(database_url, "reset-password", user.email, "--yes", answers="short\nshort\n")
    assert short.returncode != 0
    assert "Must have 8 to 128 characters" in short.stderr
    new = "a password of the operator"
    done = run(database_url, "reset-password", user.email, "--yes", answers=f"{new}\n{new}\n")
    assert done.returncode == 0, done.stderr
    assert new not in done.stdout + done.stderr
    assert_error(user.request("GET"), 401, "Invalid token")
    assert_error(log_in(client, user.email, PASSWORD), 401, "Invalid credentials")
    assert log_in(client, user.email, new).status_code == 200


def test_delete(user: Account, client: httpx.Client, database_url: str) -> None:
    user.create()
    refused = run(database_url, "delete", user.email, answers="\n")
    assert refused.returncode != 0
    assert user.request("GET").status_code == 200
    done = run(database_url, "delete", user.email, "--yes")
    assert done.returncode == 0, done.stderr
    assert_error(user.request("GET"), 401, "Invalid token")
    assert_error(log_in(client, user.email), 401, "Invalid credentials")


def test_an_unknown_email(database_url: str) -> None:
    for command in ("show", "reset-password", "revoke-tokens", "delete"):
        done = run(database_url, command, new_email())
        assert done.returncode != 0
        assert "no account has this email" in done.stderr
