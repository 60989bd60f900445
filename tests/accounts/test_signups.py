"""How often a client may sign up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from tests.support.accounts import LOGIN, PASSWORD, SIGNUP, new_email
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import Service

TOO_MANY = "Too many sign-ups: try again later"
# Of one client within a minute; three times as many of an IPv6 block.
LIMIT = 2
# Documentation addresses (RFC 5737, RFC 3849) that no other test uses: each client is a new one.
ADDRESSES = (f"203.0.{block}.{host}" for block in range(256) for host in range(256))
BLOCKS = (f"2001:db8:{number:x}" for number in range(1, 0x1000))

SignUp = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Service]:
    """A service with a low limit that takes this test for the one proxy in front of it."""
    log = tmp_path_factory.mktemp("limited") / "gunicorn.log"
    variables = {"TRUSTED_PROXIES": "1", "SIGNUPS_PER_MINUTE": str(LIMIT)}
    service = Service(log, {"DATABASE_URL": database_url, **variables})
    service.start()
    yield service
    service.stop()


@pytest.fixture
def sign_up(limited: Service) -> Iterator[SignUp]:
    """Sign up from an address."""

    def send(address: str, email: str | None = None, password: str = PASSWORD) -> httpx.Response:
        return client.post(
            SIGNUP,
            json={"email": email or new_email(), "password": password},
            headers={"X-Forwarded-For": address},
        )

    with limited.client() as client:
        yield send


def assert_too_many(response: httpx.Response) -> None:
    assert_error(response, 429, TOO_MANY)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def count(database: psycopg.Connection, network: str) -> int:
    """Return how many sign-ups are counted for an IPv4 address or an IPv6 /48."""
    query = "SELECT cardinality(tried_at) FROM login_attempts WHERE key = %s"
    row = database.execute(query, [f"signup:{network}"]).fetchone()
    return 0 if row is None else int(row[0])


def make_older(database: psycopg.Connection, network: str, seconds: int) -> None:
    """Let the sign-ups of an IPv4 address or an IPv6 /48 be some seconds older."""
    database.execute(
        "UPDATE login_attempts SET tried_at ="
        " ARRAY(SELECT t - %s * interval '1 second' FROM unnest(tried_at) AS t) WHERE key = %s",
        [seconds, f"signup:{network}"],
    )


def test_further_signups_of_a_client_are_refused(sign_up: SignUp, limited: Service) -> None:
    address, email = next(ADDRESSES), new_email()
    assert [sign_up(address).status_code for _ in range(LIMIT)] == [201] * LIMIT
    for _ in range(3):
        assert_too_many(sign_up(address, email))
    # The email is free, another client can have it, and logins are not concerned.
    assert sign_up(next(ADDRESSES), email).status_code == 201
    with limited.client() as client:
        credentials = {"email": email, "password": PASSWORD}
        response = client.post(LOGIN, json=credentials, headers={"X-Forwarded-For": address})
    assert response.status_code == 200


def test_a_minute_later_the_client_may_sign_up_again(
    sign_up: SignUp, database: psycopg.Connection
) -> None:
    address = next(ADDRESSES)
    assert sign_up(address).status_code == 201
    make_older(database, address, 40)
    assert sign_up(address).status_code == 201
    refused = sign_up(address)
    assert_too_many(refused)
    # When the first of them is a minute old.
    assert int(refused.headers["Retry-After"]) <= 20
    make_older(database, address, 20)
    assert sign_up(address).status_code == 201
    assert_too_many(sign_up(address))
    # The refused ones are not counted, and the old one isn't kept.
    assert count(database, address) == LIMIT


def test_a_malformed_signup_does_not_count(sign_up: SignUp, database: psycopg.Connection) -> None:
    address = next(ADDRESSES)
    for _ in range(2 * LIMIT):
        assert_error(sign_up(address, "no address"), 422)
        assert_error(sign_up(address, password="short"), 422)
        assert_error(sign_up(address, password="password"), 422)
    assert count(database, address) == 0
    assert sign_up(address).status_code == 201


def test_a_taken_email_counts(sign_up: SignUp) -> None:
    """It costs a hash as any other."""
    email = new_email()
    assert sign_up(next(ADDRESSES), email).status_code == 201
    address = next(ADDRESSES)
    for _ in range(LIMIT):
        assert_error(sign_up(address, email), 409, "Email already registered")
    assert_too_many(sign_up(address, email))


def test_a_refused_signup_computes_no_hash(sign_up: SignUp) -> None:
    """The fastest of ten takes much less than the fastest of ten that compute one."""
    email, full = new_email(), next(ADDRESSES)

    def fastest(addresses: list[str], status: int) -> float:
        responses = [sign_up(address, email) for address in addresses]
        assert {response.status_code for response in responses} == {status}
        return min(response.elapsed.total_seconds() for response in responses)

    for _ in range(LIMIT):
        sign_up(full, email)
    taken = fastest([next(ADDRESSES) for _ in range(10)], 409)
    assert fastest([full] * 10, 429) < taken / 2


def test_networks_of_an_ipv6_block_share_a_limit(
    sign_up: SignUp, database: psycopg.Connection
) -> None:
    block = next(BLOCKS)
    for _ in range(LIMIT):
        assert sign_up(f"{block}:1::1").status_code == 201
    # The limit of the network, whatever the host.
    assert_too_many(sign_up(f"{block}:1::2"))
    make_older(database, f"{block}::/48", 30)
    for number in range(2, 4):
        for _ in range(LIMIT):
            assert sign_up(f"{block}:{number}::1").status_code == 201
    refused = sign_up(f"{block}:4::1")
    assert_too_many(refused)
    assert int(refused.headers["Retry-After"]) <= 30
    # A network that has its own limit to wait for, too, is told the longer time.
    later = sign_up(f"{block}:3::1")
    assert_too_many(later)
    assert int(later.headers["Retry-After"]) > 30
    assert sign_up(f"{next(BLOCKS)}:1::1").status_code == 201
    assert count(database, f"{block}::/48") == 3 * LIMIT


@pytest.mark.parametrize("is_block", [False, True])
def test_signups_at_once_are_counted_exactly(limited: Service, is_block: bool) -> None:
    """By all workers, and there is no row yet."""
    if is_block:
        block = next(BLOCKS)
        addresses = [f"{block}:{number:x}::1" for number in range(50)]
    else:
        addresses = [next(ADDRESSES)] * 50
    barrier = threading.Barrier(50)

    def send(address: str) -> int:
        with limited.client() as client:
            body = {"email": new_email(), "password": PASSWORD}
            barrier.wait()
            headers = {"X-Forwarded-For": address}
            return client.post(SIGNUP, json=body, headers=headers).status_code

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(send, addresses))
    created = 3 * LIMIT if is_block else LIMIT
    assert sorted(statuses) == [201] * created + [429] * (50 - created)


def test_by_default_a_client_may_sign_up_20_times(
    make_service: MakeService,
    own_url: str,
) -> None:
    service = make_service(DATABASE_URL=own_url, SIGNUPS_PER_MINUTE="")
    service.start()
    with service.client() as client:
        statuses = [
            client.post(SIGNUP, json={"email": new_email(), "password": PASSWORD}).status_code
            for _ in range(21)
        ]
    assert statuses == [201] * 20 + [429]
