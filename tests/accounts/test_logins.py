"""Guessing passwords: how many tries pass, who is counted as one, and what a success changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx
import psycopg
import pytest
from argon2 import PasswordHasher

from taskapi.database.statements import STATEMENTS
from tests.support.accounts import LOGIN, PASSWORD, Account, new_email, sign_up
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.patience import until_served
from tests.support.service import Service, wait_until

TOO_MANY = "Too many failed logins: try again later"
INVALID = "Invalid credentials"
MINUTE_AGO = (
    "UPDATE login_attempts SET expires_at = expires_at - interval '1 minute',"
    " tried_at = ARRAY(SELECT t - interval '1 minute' FROM unnest(tried_at) t)"
)
# Documentation addresses (RFC 5737, RFC 3849): each test's clients are its own.
ADDRESSES = (f"198.51.{block}.{host}" for block in range(256) for host in range(256))
# The first 48 bits of IPv6 addresses.
BLOCKS = (f"2001:db8:{number:x}" for number in range(0x1000, 0x10000))


@pytest.fixture
def proxied(shared_service: MakeService) -> Service:
    """A service that takes this test for the one proxy in front of it."""
    return shared_service(TRUSTED_PROXIES="1")


class Guesser:
    """Somebody with an address of its own who tries passwords."""

    def __init__(self, client: httpx.Client, address: str | None = None) -> None:
        self.client = client
        self.address = address or next(ADDRESSES)

    def log_in(self, email: str, password: str = "wrong", **headers: str) -> httpx.Response:
        return self.client.post(
            LOGIN,
            json={"email": email, "password": password},
            headers={"X-Forwarded-For": self.address, **headers},
        )


@pytest.fixture
def guesser(proxied: Service) -> Iterator[Guesser]:
    with proxied.client() as client:
        yield Guesser(client)


@pytest.fixture
def email(guesser: Guesser) -> str:
    email = new_email()
    assert sign_up(guesser.client, email).status_code == 201
    return email


def assert_too_many(response: httpx.Response) -> None:
    assert_error(response, 429, TOO_MANY)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_the_sixth_guess_at_an_address_is_not_checked(guesser: Guesser, email: str) -> None:
    """Whatever the password, its case, and wherever it comes from."""
    for _ in range(5):
        assert_error(guesser.log_in(email), 401, INVALID)
    other = Guesser(guesser.client)
    for response in (
        guesser.log_in(email),
        guesser.log_in(email, PASSWORD),
        other.log_in(email.upper(), PASSWORD),
    ):
        assert_too_many(response)
    assert other.log_in(new_email()).status_code == 401


def test_an_unknown_address_is_treated_alike(guesser: Guesser) -> None:
    email = new_email()
    statuses = [guesser.log_in(email).status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2


def test_the_21st_failure_of_a_client_is_not_checked(guesser: Guesser, email: str) -> None:
    for _ in range(20):
        assert_error(guesser.log_in(new_email()), 401, INVALID)
    assert_too_many(guesser.log_in(email))
    assert_too_many(guesser.log_in(email, PASSWORD))
    assert Guesser(guesser.client).log_in(email, PASSWORD).status_code == 200


def test_a_client_that_is_refused_locks_nobody_out(guesser: Guesser, email: str) -> None:
    for _ in range(20):
        guesser.log_in(new_email())
    for _ in range(6):
        assert_too_many(guesser.log_in(email))
    assert Guesser(guesser.client).log_in(email, PASSWORD).status_code == 200


def test_what_is_refused_for_its_address_does_not_count_for_the_client(
    guesser: Guesser, email: str
) -> None:
    """Else one user's client that goes on trying would shut out all behind the same address."""
    statuses = [guesser.log_in(email).status_code for _ in range(30)]
    assert statuses == [401] * 5 + [429] * 25
    assert guesser.log_in(new_email()).status_code == 401


def test_a_success_is_no_failure(guesser: Guesser, email: str) -> None:
    for _ in range(4):
        assert guesser.log_in(email).status_code == 401
    for _ in range(25):
        assert guesser.log_in(email, PASSWORD).status_code == 200
    assert guesser.log_in(email).status_code == 401
    assert_too_many(guesser.log_in(email, PASSWORD))


def test_a_minute_later_the_door_is_open(
    guesser: Guesser, email: str, database: psycopg.Connection
) -> None:
    for _ in range(6):
        refused = guesser.log_in(email)
    database.execute(f"{MINUTE_AGO} WHERE expires_at > now()")
    assert guesser.log_in(email, PASSWORD).status_code == 200
    assert int(refused.headers["Retry-After"]) > 30
    for _ in range(5):
        assert guesser.log_in(email).status_code == 401
    assert_too_many(guesser.log_in(email))


def test_of_fifty_guesses_at_once_five_are_checked(
    proxied: Service, email: str, database: psycopg.Connection
) -> None:
    """From fifty clients, by all workers, and there is no row of the address yet."""
    barrier = threading.Barrier(50)

    def guess(_: int) -> int:
        with proxied.client() as client:
            guesser = Guesser(client)
            barrier.wait()
            return until_served(lambda: guesser.log_in(email)).status_code

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(guess, range(50)))
    assert sorted(statuses) == [401] * 5 + [429] * 45


def test_of_fifty_guesses_of_one_client_at_once_twenty_are_checked(proxied: Service) -> None:
    barrier, address = threading.Barrier(50), next(ADDRESSES)

    def guess(_: int) -> int:
        with proxied.client() as client:
            barrier.wait()
            email = new_email()
            return until_served(lambda: Guesser(client, address).log_in(email)).status_code

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(guess, range(50)))
    assert sorted(statuses) == [401] * 20 + [429] * 30


def test_60_failures_of_an_ipv6_block_are_checked(guesser: Guesser, email: str) -> None:
    """From 25 networks in it, of which each makes less than a client may."""
    block, statuses = next(BLOCKS), []
    for number in range(100):
        client = Guesser(guesser.client, f"{block}:{number % 25:x}::1")
        response = client.log_in(new_email())
        statuses.append(response.status_code)
    assert statuses == [401] * 60 + [429] * 40
    assert_too_many(response)
    # Also one of the block that has not failed yet, with the right password.
    for _ in range(6):
        assert_too_many(Guesser(guesser.client, f"{block}:ffff::1").log_in(email, PASSWORD))
    # None of this counts for the email or for another block.
    assert Guesser(guesser.client, f"{next(BLOCKS)}::1").log_in(email, PASSWORD).status_code == 200


def test_a_network_that_is_refused_does_not_count_for_its_block(guesser: Guesser) -> None:
    block = next(BLOCKS)
    client = Guesser(guesser.client, f"{block}:1::1")
    statuses = [client.log_in(new_email()).status_code for _ in range(70)]
    assert statuses == [401] * 20 + [429] * 50
    client = Guesser(guesser.client, f"{block}:2::1")
    assert client.log_in(new_email()).status_code == 401


def test_a_success_is_no_failure_of_a_block(guesser: Guesser, email: str) -> None:
    block = next(BLOCKS)
    for number in range(65):
        client = Guesser(guesser.client, f"{block}:{number:x}::1")
        assert client.log_in(email, PASSWORD).status_code == 200
    assert client.log_in(email).status_code == 401


def test_of_200_guesses_of_a_block_at_once_60_are_checked(proxied: Service) -> None:
    """Each from another network of it, at another email."""
    barrier, block = threading.Barrier(200), next(BLOCKS)
    emails = [new_email() for _ in range(200)]

    def guess(number: int) -> int:
        with proxied.client() as client:
            guesser = Guesser(client, f"{block}:{number:x}::1")
            barrier.wait()
            return until_served(lambda: guesser.log_in(emails[number])).status_code

    with ThreadPoolExecutor(200) as threads:
        statuses = list(threads.map(guess, range(200)))
    assert sorted(statuses) == [401] * 60 + [429] * 140


def test_of_two_attempts_of_one_moment_one_is_taken_back(database: psycopg.Connection) -> None:
    """Each row has the time of both; only one of them was a success."""
    moment, earlier = "2026-03-01 09:30:00+00", "2026-03-01 09:29:00+00"
    attempt = {"email": "", "client": new_email(), "block": new_email(), "tried_at": moment}
    keys = [f"client:{attempt['client']}", f"block:{attempt['block']}"]
    keys.append(f"address:{sha256(b'').hexdigest()}")
    database.execute(
        "INSERT INTO login_attempts (key, tried_at, expires_at)"
        " SELECT key, ARRAY['-infinity', %s, %s, %s]::timestamptz[], now()"
        " FROM unnest(%s::text[]) AS key",
        [earlier, moment, moment, keys],
    )
    for left in (1, 0, 0):
        database.execute(STATEMENTS["take_back_login_attempt"], attempt)
        rows = database.execute(
            "SELECT cardinality(tried_at), cardinality(array_positions(tried_at, %s)),"
            " cardinality(array_positions(tried_at, %s)) FROM login_attempts WHERE key = ANY (%s)",
            [moment, earlier, keys],
        ).fetchall()
        assert rows == [(4, left, 1)] * 3
    database.execute("DELETE FROM login_attempts WHERE key = ANY (%s)", [keys])


def test_failures_and_successes_at_once_disturb_nobody(proxied: Service, email: str) -> None:
    """Rows of clients, blocks and addresses are locked in one order: no deadlock, no 503."""
    blocks = [next(BLOCKS), next(BLOCKS)]
    addresses = [next(ADDRESSES), f"{blocks[0]}:1::1", f"{blocks[0]}:2::1", f"{blocks[1]}::1"]
    emails = [new_email() for _ in range(4)]
    with proxied.client() as client:
        for other in emails:
            sign_up(client, other)

        def log_in(number: int) -> int:
            guesser = Guesser(client, addresses[number % 4])
            password = PASSWORD if number % 3 else "wrong"
            email = emails[number % 5 % 4]
            return until_served(lambda: guesser.log_in(email, password)).status_code

        with ThreadPoolExecutor(16) as threads:
            statuses = set(threads.map(log_in, range(300)))
    assert statuses <= {200, 401, 429}


def test_rows_that_no_longer_count_are_swept(
    guesser: Guesser, database: psycopg.Connection
) -> None:
    for _ in range(10):
        guesser.log_in(new_email())
    database.execute(MINUTE_AGO)
    for _ in range(100):
        Guesser(guesser.client).log_in(new_email())
        row = database.execute(
            "SELECT count(*) FROM login_attempts WHERE expires_at < now()"
        ).fetchone()
        if row == (0,):
            break
    assert row == (0,)


def test_the_table_holds_no_address_that_was_typed(
    guesser: Guesser, database: psycopg.Connection
) -> None:
    """It may be a password in the wrong field."""
    guesser.log_in("hunter2")
    rows = database.execute("SELECT key FROM login_attempts").fetchall()
    assert (f"client:{guesser.address}",) in rows
    assert "hunter2" not in str(rows)


def client_keys(database: psycopg.Connection, service: Service, *addresses: str) -> set[str]:
    """Fail a login with each X-Forwarded-For and return what was counted."""
    database.execute("DELETE FROM login_attempts")
    with service.client() as client:
        for address in addresses:
            assert Guesser(client, address).log_in(new_email()).status_code == 401
    rows = database.execute("SELECT key FROM login_attempts WHERE key LIKE 'client:%'")
    return {key.removeprefix("client:") for (key,) in rows}


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        (["203.0.113.9", "::ffff:203.0.113.9", "203.0.113.9:4711"], "203.0.113.9"),
        (
            ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "[2001:db8:1:2::3]:4711"],
            "2001:db8:1:2::/64",
        ),
        (["unknown", "_hidden", "203.0.113.", "x:y"], "unknown"),
        # What the client sends itself comes before what the proxy appends.
        (["192.0.2.1, 203.0.113.9", "x, ,203.0.113.9"], "203.0.113.9"),
    ],
)
def test_what_counts_as_one_client(
    proxied: Service, database: psycopg.Connection, addresses: list[str], network: str
) -> None:
    assert client_keys(database, proxied, *addresses) == {network}


def test_without_a_proxy_the_header_says_nothing(
    service: Service, database: psycopg.Connection
) -> None:
    assert client_keys(database, service, "203.0.113.1", "203.0.113.2") == {"127.0.0.1"}


def test_two_proxies_are_counted_from_the_end(
    shared_service: MakeService, database: psycopg.Connection
) -> None:
    service = shared_service(TRUSTED_PROXIES="2")
    forwarded = "192.0.2.1, 203.0.113.9, 10.0.0.1"
    assert client_keys(database, service, forwarded) == {"203.0.113.9"}
    # Too few are not what two proxies would have sent.
    assert client_keys(database, service, "203.0.113.9") == {"127.0.0.1"}


@pytest.mark.parametrize(("proxies", "counted"), [("0", "unknown"), ("1", "203.0.113.9")])
def test_behind_a_unix_socket(
    make_service: MakeService,
    database_url: str,
    database: psycopg.Connection,
    folder: Path,
    proxies: str,
    counted: str,
) -> None:
    """Its peer has no address, and gunicorn trusts it more than others: its headers say no more."""
    path = folder / f"gunicorn{proxies}.sock"
    service = make_service(DATABASE_URL=database_url, TRUSTED_PROXIES=proxies)
    service.variables["GUNICORN_CMD_ARGS"] = f"--bind 127.0.0.1:{service.port} --bind unix:{path}"
    service.start()
    database.execute("DELETE FROM login_attempts")
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://x") as client:
        headers = {"PATH_INFO": "/health", "SCRIPT_NAME": "/x", "X-Forwarded-Proto": "https"}
        response = Guesser(client, "203.0.113.9").log_in(new_email(), **headers)
        assert_error(response, 401, INVALID)
    rows = database.execute("SELECT key FROM login_attempts WHERE key LIKE 'client:%'").fetchall()
    assert rows == [(f"client:{counted}",)]


def test_a_count_that_cannot_be_taken_back_does_not_hinder_the_login(
    make_service: MakeService, own_url: str
) -> None:
    service = make_service(DATABASE_URL=own_url, DB_STATEMENT_TIMEOUT="0.5")
    service.start()
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as dba:
        email = new_email()
        sign_up(client, email)
        dba.execute(
            "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$"
        )
        # Counting puts a time at the end, taking back takes it away from there.
        dba.execute(
            "CREATE TRIGGER stall BEFORE UPDATE ON login_attempts FOR EACH ROW"
            " WHEN (NEW.tried_at[cardinality(NEW.tried_at)] < now()) EXECUTE FUNCTION stall()"
        )
        credentials = {"email": email, "password": PASSWORD}
        assert client.post(LOGIN, json=credentials).status_code == 200
    assert "counts as failed for a minute" in service.log.read_text()


def argon2_hash(time_cost: int) -> str:
    """A well-formed hash, of no password, that takes as long to check as it says."""
    return f"$argon2id$v=19$m=19456,t={time_cost},p=1$c2FsdHNhbHRzYWx0c2FsdA${'A' * 43}"


@pytest.mark.slow
def test_who_gets_no_turn_at_argon2_is_told_to_come_back(
    make_service: MakeService, database_url: str, database: psycopg.Connection
) -> None:
    """One core, so that one login that takes seconds is all that a worker does at once."""
    cores = os.sched_getaffinity(0)
    service = make_service(DATABASE_URL=database_url, WEB_CONCURRENCY="1")
    os.sched_setaffinity(0, {min(cores)})
    try:
        service.start()
    finally:
        os.sched_setaffinity(0, cores)
    with service.client() as client, ThreadPoolExecutor(5) as threads:
        user, slow = Account.sign_up(client), Account.sign_up(client)
        database.execute(
            "UPDATE users SET password_hash = %s WHERE id = %s", [argon2_hash(1000), slow.id]
        )
        database.execute("DELETE FROM login_attempts")
        credentials = {"email": slow.email, "password": PASSWORD}
        first = threads.submit(client.post, LOGIN, json=credentials)
        rows = "SELECT 1 FROM login_attempts"
        wait_until("the slow login to begin", lambda: bool(database.execute(rows).fetchall()))
        busy = "Too many logins at once: try again later"
        credentials = {"email": user.email, "password": PASSWORD}
        waiting = [threads.submit(client.post, LOGIN, json=credentials) for _ in range(3)]
        waiting.append(threads.submit(sign_up, client, new_email()))
        for answer in waiting:
            assert_error(answer.result(), 503, busy)
        assert user.request("GET").status_code == 200
        assert_error(first.result(), 401, INVALID)
        failures = database.execute(
            "SELECT sum(cardinality(array_remove(tried_at, '-infinity'))) FROM login_attempts"
            " WHERE clients IS NULL"
        ).fetchone()
        # The slow one's, by its client and by its address: to be turned away is no failure.
        assert failures == (2,)


WEAK = "$argon2id$v=19$m=8,t=1,p=1$"


@pytest.fixture
def weak_user(user: Account, database: psycopg.Connection) -> Account:
    """A user whose hash was made when less was thought enough."""
    old = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1).hash(PASSWORD)
    database.execute("UPDATE users SET password_hash = %s WHERE id = %s", [old, user.id])
    return user


def stored_hash(database: psycopg.Connection, user: Account) -> str:
    row = database.execute("SELECT password_hash FROM users WHERE id = %s", [user.id]).fetchone()
    assert row is not None
    return str(row[0])


def test_an_outdated_hash_is_renewed_at_login(
    weak_user: Account, database: psycopg.Connection
) -> None:
    credentials = {"email": weak_user.email.upper(), "password": "wrong"}
    assert weak_user.client.post(LOGIN, json=credentials).status_code == 401
    assert stored_hash(database, weak_user).startswith(WEAK)
    credentials["password"] = PASSWORD
    assert weak_user.client.post(LOGIN, json=credentials).status_code == 200
    renewed = stored_hash(database, weak_user)
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert weak_user.client.post(LOGIN, json=credentials).status_code == 200
    assert stored_hash(database, weak_user) == renewed


def test_a_hash_that_cannot_be_renewed_does_not_hinder_the_login(
    weak_user: Account, database: psycopg.Connection, service: Service
) -> None:
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'no: %', NEW.password_hash; END$$"
    )
    database.execute(
        f"CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW"
        f" WHEN (OLD.id = '{weak_user.id}') EXECUTE FUNCTION refuse()"
    )
    credentials = {"email": weak_user.email, "password": PASSWORD}
    try:
        assert weak_user.client.post(LOGIN, json=credentials).status_code == 200
    finally:
        database.execute("DROP FUNCTION refuse() CASCADE")
    assert stored_hash(database, weak_user).startswith(WEAK)
    wait_until("the log", lambda: "was not renewed: RaiseException" in service.log.read_text())


def test_a_password_that_changes_meanwhile_is_not_overwritten(
    weak_user: Account, database_url: str, database: psycopg.Connection
) -> None:
    """The new hash is of the old password: it must match the old hash to be stored."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    credentials = {"email": weak_user.email, "password": PASSWORD}
    with ThreadPoolExecutor(1) as thread, psycopg.connect(database_url) as change:
        change.execute("UPDATE users SET password_hash = 'new' WHERE id = %s", [weak_user.id])
        login = thread.submit(weak_user.client.post, LOGIN, json=credentials)
        name = [change.info.dbname]
        wait_until("the renewal to wait", lambda: bool(database.execute(waiting, name).fetchall()))
        change.commit()
        assert login.result().status_code == 200
    assert stored_hash(database, weak_user) == "new"
