"""Passwords that too many people have are refused at sign-up."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from taskapi.accounts.common_passwords import COMMON_PASSWORDS
from taskapi.accounts.passwords import HASHER
from tests.support.accounts import Account, log_in, new_email, sign_up
from tests.support.checks import assert_error, assert_faults
from tests.support.service import run_command

MESSAGE = "Is among the most common passwords"


@pytest.mark.parametrize(
    "password", ["password", "12345678", "PASSWORD", "QwertyUiop", "iloveyou", "football1"]
)
def test_it_rejects_a_common_password(client: httpx.Client, password: str) -> None:
    response = sign_up(client, new_email(), password)
    assert_faults(response, ["body", "password"])
    assert response.json()["detail"][0]["msg"] == MESSAGE


@pytest.mark.parametrize(
    "password", ["password of Ann", " password", "password ", "p\u00e4ssword", "12345678\u200b"]
)
def test_only_the_whole_password_counts(client: httpx.Client, password: str) -> None:
    assert sign_up(client, new_email(), password).status_code == 201


def test_a_short_password_has_one_fault(client: httpx.Client) -> None:
    response = sign_up(client, new_email(), "123456")
    assert_faults(response, ["body", "password"])
    assert response.json()["detail"][0]["msg"] == "Must have 8 to 128 characters"


def test_an_account_that_has_one_can_log_in(
    client: httpx.Client, database: psycopg.Connection
) -> None:
    """Only a new password is looked at."""
    user = Account.insert(client, database)
    assert_error(log_in(client, user.email, "password"), 401, "Invalid credentials")
    password_hash = HASHER.hash("password")
    database.execute("UPDATE users SET password_hash = %s WHERE id = %s", [password_hash, user.id])
    assert log_in(client, user.email, "password").status_code == 200


def test_the_list_has_what_can_be_a_password() -> None:
    assert len(COMMON_PASSWORDS) > 3_000
    assert all(8 <= len(password) <= 128 for password in COMMON_PASSWORDS)
    assert all(password == password.lower() for password in COMMON_PASSWORDS)


def test_nothing_but_the_list_is_loaded() -> None:
    """The package's own dictionaries take 20 MB."""
    code = "import sys, taskapi; print([m for m in sys.modules if m.startswith('zxcvbn')])"
    done = run_command("-c", code)
    assert done.stdout == "[]\n", done.stderr
