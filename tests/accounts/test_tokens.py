"""Tokens: forged, broken and outdated ones."""

from __future__ import annotations

import hashlib
import time

import jwt
import pytest

from taskapi.database.identity import derive_key
from taskapi.migrate.run import apply_migrations
from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import SECRET, wait_until
from tests.support.tokens import (
    BAD_TOKENS,
    EXPIRED,
    HS256,
    INVALID,
    MISSING,
    Claims,
    bearer,
    forge,
    swap_claims,
    without,
)


@pytest.fixture
def claims(user: Account) -> Claims:
    return {"sub": user.id, "exp": int(time.time()) + 3600}


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_it_rejects_a_bad_token(user: Account, claims: Claims, case: str) -> None:
    make, detail = BAD_TOKENS[case]
    header = f"Bearer {make(claims)}".encode("latin-1")
    response = user.client.get(user.tasks, headers={b"Authorization": header})
    assert_error(response, 401, detail)


def test_a_token_ends_in_time_though_it_was_good_before(user: Account, claims: Claims) -> None:
    user.headers = bearer(forge(HS256, claims | {"exp": time.time() + 3}))
    answers: list[int] = []

    def is_refused() -> bool:
        response = user.request("GET")
        answers.append(response.status_code)
        if response.status_code == 401:
            assert_error(response, 401, EXPIRED)
        return response.status_code == 401

    wait_until("the token's end", is_refused)
    assert len(answers) > 10
    assert set(answers[:-1]) == {200}


def test_what_was_good_before_vouches_for_nothing_else(user: Account, claims: Claims) -> None:
    """Neither for another signature nor for other claims under the same one."""
    token = forge(HS256, claims)
    user.headers = bearer(token)
    assert user.request("GET").status_code == 200
    for forged in (token[:-4] + "AAAA", swap_claims(token, claims | {"exp": claims["exp"] + 1})):
        user.headers = bearer(forged)
        assert_error(user.request("GET"), 401, INVALID)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "{token}", "Token {token}"])
def test_it_misses_a_token(user: Account, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(token=user.token)}
    assert_error(user.client.get(user.tasks, headers=headers), 401, MISSING)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", ""),
        ("GET", "/{id}"),
        ("PUT", "/{id}"),
        ("DELETE", "/{id}"),
        ("PATCH", "/{id}/complete"),
    ],
)
def test_every_task_route_wants_a_token(user: Account, method: str, path: str) -> None:
    task = user.create()
    url = user.tasks + path.format(id=task["id"])
    assert_error(user.client.request(method, url), 401, MISSING)
    # Not in the URL either: it would end up in logs.
    assert_error(user.client.request(method, f"{url}?token={user.token}"), 401, MISSING)
    assert user.request("GET").json() == [task]


def test_the_least_token_is_good(user: Account, claims: Claims) -> None:
    for good in (
        claims,
        claims | {"sub": claims["sub"].upper()},
        claims | {"exp": claims["exp"] + 0.5},
    ):
        for scheme in ("Bearer", "bearer", "BEARER"):
            headers = {"Authorization": f"{scheme} {forge(HS256, good)}"}
            assert user.client.get(user.tasks, headers=headers).status_code == 200


def test_a_users_id_in_capitals_is_the_same_user(user: Account) -> None:
    task = user.create()
    response = user.client.get(f"/api/{user.id.upper()}/tasks", headers=user.headers)
    assert response.json() == [task]


OLD, NEW = "the secret of last year with more than 32 bytes", "N" * 32


def test_a_secret_is_replaced_without_logging_anyone_out(
    make_service: MakeService, database_url: str
) -> None:
    """First the new one is added, everywhere; when the old one's tokens have expired, it goes."""
    apply_migrations(database_url, keys=[derive_key(OLD), derive_key(NEW)])
    old = make_service(DATABASE_URL=database_url, JWT_SECRET=OLD)
    both = make_service(DATABASE_URL=database_url, JWT_SECRET=f"{NEW}, {OLD}")
    new = make_service(DATABASE_URL=database_url, JWT_SECRET=NEW)
    for service in (old, both, new):
        service.start()
    with old.client() as old_client, both.client() as both_client, new.client() as new_client:
        before, after = Account.sign_up(old_client), Account.sign_up(both_client)
        claims = {"sub": before.id, "exp": int(time.time()) + 3600}
        # As earlier releases issued them, and as somebody else with the same secret may.
        without_kid = forge(HS256, claims, OLD)
        another_kid = forge(HS256 | {"kid": "mine"}, claims, OLD)
        for token in (before.token, without_kid, another_kid):
            headers = {"Authorization": f"Bearer {token}"}
            assert both_client.get(before.tasks, headers=headers).status_code == 200
            assert_error(new_client.get(before.tasks, headers=headers), 401, INVALID)
        assert both_client.get(after.tasks, headers=after.headers).status_code == 200
        assert new_client.get(after.tasks, headers=after.headers).status_code == 200
        assert_error(old_client.get(after.tasks, headers=after.headers), 401, INVALID)
        expired = forge(HS256, claims | {"exp": 1}, OLD)
        headers = {"Authorization": f"Bearer {expired}"}
        assert_error(both_client.get(before.tasks, headers=headers), 401, EXPIRED)
        # A kid is a hint: it makes another secret's signature no better.
        kid = jwt.get_unverified_header(after.token)["kid"]
        headers = {"Authorization": f"Bearer {forge(HS256 | {'kid': kid}, claims, OLD)}"}
        assert_error(both_client.get(before.tasks, headers=headers), 401, INVALID)


def test_the_kid_is_the_secrets_and_gives_nothing_away(user: Account) -> None:
    kids = {jwt.get_unverified_header(Account.sign_up(user.client).token)["kid"] for _ in range(2)}
    assert len(kids) == 1
    kid = kids.pop()
    assert kid not in SECRET
    assert not hashlib.sha256(SECRET.encode()).hexdigest().startswith(kid)


@pytest.mark.parametrize("case", ["iss", "aud"])
def test_issuer_and_audience_are_ours_and_required(shared_service: MakeService, case: str) -> None:
    ours = "https://tasks.example"
    with shared_service(JWT_ISSUER=ours, JWT_AUDIENCE=ours).client() as client:
        account = Account.sign_up(client)
        assert account.create()
        claims = jwt.decode(account.token, options={"verify_signature": False})
        assert claims[case] == ours
        for bad in (without(claims, case), claims | {case: "another"}, claims | {case: ""}):
            headers = {"Authorization": f"Bearer {forge(HS256, bad)}"}
            assert_error(client.get(account.tasks, headers=headers), 401, INVALID)


def test_a_token_for_another_audience_is_refused(user: Account, claims: Claims) -> None:
    """RFC 7519, 4.1.3: who isn't named by `aud` must not accept it."""
    headers = {"Authorization": f"Bearer {forge(HS256, claims | {'aud': 'another'})}"}
    assert_error(user.client.get(user.tasks, headers=headers), 401, INVALID)
