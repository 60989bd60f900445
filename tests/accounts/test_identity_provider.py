"""Tokens of an identity provider: its keys, its users, and its absence."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taskapi.accounts import key_set, tokens
from taskapi.accounts.key_set import KeySet
from taskapi.exceptions import IdentityProviderUnavailable, InvalidToken
from tests.support.accounts import PASSWORD, Account
from tests.support.checks import UUID, assert_error, assert_task
from tests.support.fixtures import MakeService
from tests.support.identity_provider import IdentityProvider
from tests.support.service import ROOT, SECRET, Service, wait_until
from tests.support.tokens import BAD_TOKENS, EXPIRED, HS256, INVALID, forge, swap_claims

UNAVAILABLE = "The identity provider is not available"
ISSUER, AUDIENCE = "https://idp.example", "taskapi"
ALGORITHMS = ["EdDSA", "ES256", "RS256"]
NAMESPACE = "e7d06990-e6a5-45b6-89ee-f41acaad897b"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        for algorithm in [*ALGORITHMS, "ES384"]:
            provider.add_key(algorithm, kid=algorithm)
        yield provider


@pytest.fixture(scope="module")
def idp_service(shared_service: MakeService, provider: IdentityProvider) -> Service:
    return shared_service(JWT_JWKS_URL=provider.url, LOG_LEVEL="debug")


@pytest.fixture
def idp_client(idp_service: Service) -> Iterator[httpx.Client]:
    with idp_service.client() as client:
        yield client


def call(client: httpx.Client, token: str, method: str = "GET", **kwargs: Any) -> httpx.Response:
    """Call the tasks of the user that a token names, whatever its signature."""
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    subject = str(claims.get("sub"))
    user_id = subject if UUID.fullmatch(subject.lower()) else "me"
    headers = {"Authorization": f"Bearer {token}", **kwargs.pop("headers", {})}
    return client.request(method, f"/api/{user_id}/tasks", headers=headers, **kwargs)


def version_5(namespace: str, name: str) -> str:
    """RFC 9562, 5.5, done by hand."""
    digest = bytearray(hashlib.sha1(uuid.UUID(namespace).bytes + name.encode()).digest()[:16])  # noqa: S324
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


# As the common providers make them: Better Auth, Auth0, Google, and one of any characters.
SUBJECTS = [
    "R4nD0mAlnumIdOf32CharactersBetter",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "109876543210987654321",
    "é/..?#\0 x",
    "6f1c1d8e2f0b4c3a9d510d8f5b7a2c11",
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_that_is_no_uuid_stands_for_one(
    idp_client: httpx.Client, provider: IdentityProvider, database: psycopg.Connection, subject: str
) -> None:
    issuer, email = f"{ISSUER}/{uuid.uuid4()}/", f"{uuid.uuid4().hex}@idp.example"
    token = provider.sign("RS256", sub=subject, iss=issuer, email=email)
    user_id = version_5(version_5(NAMESPACE, issuer), subject)
    user = Account(idp_client, user_id, email, token)
    first = user.create("first")
    assert_task(first)
    assert first["user_id"] == user_id
    # After the next login, with another key, and by a client that doesn't compute it.
    token = provider.sign("ES256", sub=subject, iss=issuer, email=email)
    again = Account(idp_client, "me", email, token)
    assert again.request("GET").json() == [first]
    assert again.request("DELETE", f"/{first['id']}").status_code == 204
    row = database.execute("SELECT email FROM users WHERE id = %s", [user_id]).fetchone()
    assert row == (email,)
    # The same subject of another issuer, and another subject of the same, are other users.
    for other in (
        {"sub": subject, "iss": issuer.removesuffix("/")},
        {"sub": f"{subject} ", "iss": issuer},
    ):
        response = idp_client.get(
            user.tasks,
            headers={"Authorization": f"Bearer {provider.sign('RS256', **other)}"},
        )
        assert_error(response, 403, "Access denied: user_id does not match the token")


def test_a_subject_that_is_a_uuid_stays_itself(
    idp_client: httpx.Client, provider: IdentityProvider
) -> None:
    sub = str(uuid.uuid4())
    token = provider.sign("EdDSA", sub=sub.upper(), iss=ISSUER)
    created = Account(idp_client, "me", "", token).create()
    assert created["user_id"] == sub
    assert call(idp_client, token).json() == [created]


def test_the_pages_example_is_right() -> None:
    """Others compute the id of a user with it."""
    page = (ROOT / "docs" / "api.md").read_text()
    assert NAMESPACE in page
    issuer, subject = "https://example.eu.auth0.com/", "auth0|5f7c8ec7c33c6c004bbafe82"
    assert issuer in page
    assert subject in page
    assert f"#> {version_5(version_5(NAMESPACE, issuer), subject)}\n" in page


def test_the_namespace_never_changes() -> None:
    """Every user of a provider would lose their tasks."""
    assert str(tokens.PROVIDERS) == NAMESPACE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_user_is_made_with_the_first_task(
    idp_client: httpx.Client,
    provider: IdentityProvider,
    database: psycopg.Connection,
    algorithm: str,
) -> None:
    sub, email = str(uuid.uuid4()), f"{uuid.uuid4().hex}@Idp.example"
    token = provider.sign(algorithm, sub=sub.upper(), email=email)
    assert call(idp_client, token).json() == []
    users = "SELECT email, password_hash FROM users WHERE id = %s"
    assert database.execute(users, [sub]).fetchall() == []
    created = call(idp_client, token, "POST", json={"title": "first"})
    assert created.status_code == 201
    assert_task(created.json())
    assert call(idp_client, token, "POST", json={"title": "second"}).status_code == 201
    assert [task["title"] for task in call(idp_client, token).json()] == ["second", "first"]
    assert database.execute(users, [sub]).fetchall() == [(email, None)]


def test_no_password_opens_a_providers_account(
    idp_client: httpx.Client, provider: IdentityProvider
) -> None:
    email = f"{uuid.uuid4().hex}@idp.example"
    token = provider.sign("EdDSA", email=email)
    call(idp_client, token, "POST", json={"title": "t"})
    credentials = {"email": email, "password": PASSWORD}
    login = idp_client.post("/api/auth/login", json=credentials)
    assert_error(login, 401, "Invalid credentials")
    signup = idp_client.post("/api/auth/signup", json=credentials)
    assert_error(signup, 409, "Email already registered")


def test_an_address_that_is_taken_is_never_linked(
    idp_client: httpx.Client, provider: IdentityProvider, database: psycopg.Connection
) -> None:
    """Who could have any address at the provider would get hold of an account here."""
    account = Account.insert(idp_client, database)
    task = account.create()
    token = provider.sign("ES256", email=account.email.upper())
    response = call(idp_client, token, "POST", json={"title": "t"})
    assert_error(response, 409, "The token's email belongs to another account")
    assert call(idp_client, token).json() == []
    assert account.request("GET").json() == [task]


@pytest.mark.one_server
def test_first_tasks_at_once_all_succeed(
    idp_client: httpx.Client, provider: IdentityProvider
) -> None:
    for _ in range(5):
        token = provider.sign("EdDSA")
        with ThreadPoolExecutor(8) as threads:
            create = partial(call, idp_client, token, "POST", json={"title": "t"})
            answers = [future.result() for future in [threads.submit(create) for _ in range(8)]]
        assert [answer.status_code for answer in answers] == [201] * 8
        assert len(call(idp_client, token).json()) == 8


def test_a_token_of_our_own_makes_no_user(
    idp_client: httpx.Client, database: psycopg.Connection
) -> None:
    account = Account.insert(idp_client, database)
    assert account.create()
    database.execute("DELETE FROM users WHERE id = %s", [account.id])
    assert_error(account.request("POST", json={"title": "t"}), 401, INVALID)


@pytest.mark.one_server
def test_a_first_task_may_have_a_key(
    idp_client: httpx.Client, provider: IdentityProvider, user: Account
) -> None:
    request = {"json": {"title": "t"}, "headers": {"Idempotency-Key": uuid.uuid4().hex}}
    token = provider.sign("EdDSA")
    with ThreadPoolExecutor(8) as threads:
        create = partial(call, idp_client, token, "POST", **request)
        answers = [future.result() for future in [threads.submit(create) for _ in range(8)]]
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.content for answer in answers}) == 1
    assert call(idp_client, token).json() == [answers[0].json()]
    taken = provider.sign("EdDSA", email=user.email)
    response = call(idp_client, taken, "POST", **request)
    assert_error(response, 409, "The token's email belongs to another account")


def public_pem(provider: IdentityProvider, kid: str) -> str:
    key = provider.private[kid][1].public_key()
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def sign_claims(provider: IdentityProvider, claims: dict[str, Any]) -> str:
    """Sign claims as they are with a key of the provider: the library refuses some."""
    user = {"email": f"{uuid.uuid4().hex}@idp.example", "exp": int(time.time()) + 3600}
    payload = json.dumps(user | claims).encode()
    return jwt.PyJWS().encode(payload, provider.private["EdDSA"][1], "EdDSA", {"kid": "EdDSA"})


def resign(token: str, header: object, secret: str) -> str:
    """Keep the claims, replace the header, and sign with HMAC."""
    return forge(header, base64.urlsafe_b64decode(token.split(".")[1] + "=="), secret)


BAD: dict[str, tuple[Callable[[IdentityProvider], str], str]] = {
    "expired": (lambda p: p.sign("EdDSA", exp=int(time.time()) - 60), EXPIRED),
    "without exp": (lambda p: p.sign("EdDSA", exp=None), INVALID),
    "without sub": (lambda p: p.sign("EdDSA", sub=None), INVALID),
    "sub is empty": (lambda p: p.sign("EdDSA", sub="", iss=ISSUER), INVALID),
    "sub is a number": (lambda p: p.sign("EdDSA", sub=5, iss=ISSUER), INVALID),
    "sub is a lone surrogate": (lambda p: p.sign("EdDSA", sub="\ud800", iss=ISSUER), INVALID),
    "sub is no UUID, without iss": (lambda p: p.sign("EdDSA", sub="auth0|5f7c8ec7"), INVALID),
    "sub is no UUID, iss is empty": (
        lambda p: p.sign("EdDSA", sub="auth0|5f7c8ec7", iss=""),
        INVALID,
    ),
    "sub is no UUID, iss is a number": (
        lambda p: sign_claims(p, {"sub": "auth0|5f7c8ec7", "iss": 5}),
        INVALID,
    ),
    "without email": (lambda p: p.sign("EdDSA", email=None), INVALID),
    "email is a number": (lambda p: p.sign("EdDSA", email=5), INVALID),
    "email is none": (lambda p: p.sign("EdDSA", email="nobody"), INVALID),
    "email too long": (lambda p: p.sign("EdDSA", email="x" * 253 + "@b"), INVALID),
    "email with NUL": (lambda p: p.sign("EdDSA", email="a\0@b"), INVALID),
    "for somebody else": (lambda p: p.sign("EdDSA", aud="another"), INVALID),
    "unknown kid": (lambda p: p.sign("EdDSA", "unknown"), INVALID),
    "without kid": (lambda p: p.sign("EdDSA", None), INVALID),
    "another key's kid": (lambda p: p.sign("EdDSA", "RS256"), INVALID),
    "an algorithm that isn't taken": (lambda p: p.sign("ES384"), INVALID),
    "claims changed": (
        lambda p: swap_claims(p.sign("RS256"), {"sub": str(uuid.uuid4()), "exp": 10**10}),
        INVALID,
    ),
    "alg none": (lambda p: resign(p.sign("RS256"), {"alg": "none", "kid": "RS256"}, ""), INVALID),
    "HS256 with the public key": (
        lambda p: resign(p.sign("RS256"), HS256 | {"kid": "RS256"}, public_pem(p, "RS256")),
        INVALID,
    ),
    "HS256 with the public point": (
        lambda p: resign(p.sign("EdDSA"), HS256 | {"kid": "EdDSA"}, p.keys[0]["x"]),
        INVALID,
    ),
    "RS256 in name, signed with our secret": (
        lambda p: resign(p.sign("RS256"), {"alg": "RS256", "kid": "RS256"}, SECRET),
        INVALID,
    ),
    "ES256 in name, with an RSA key": (
        lambda p: resign(p.sign("RS256"), {"alg": "ES256", "kid": "RS256"}, SECRET),
        INVALID,
    ),
    "alg is a list": (
        lambda p: resign(p.sign("RS256"), {"alg": ["RS256"], "kid": "RS256"}, SECRET),
        INVALID,
    ),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("case", BAD)
def test_it_rejects_a_bad_token(
    idp_client: httpx.Client, provider: IdentityProvider, case: str
) -> None:
    make, detail = BAD[case]
    assert_error(call(idp_client, make(provider)), 401, detail)


def test_what_is_no_token_of_ours_is_no_token_of_the_providers(
    idp_client: httpx.Client, database: psycopg.Connection
) -> None:
    account = Account.insert(idp_client, database)
    claims = {"sub": account.id, "exp": int(time.time()) + 3600}
    for make, detail in BAD_TOKENS.values():
        header = f"Bearer {make(claims)}".encode("latin-1")
        response = idp_client.get(account.tasks, headers={b"Authorization": header})
        assert_error(response, 401, detail)


def test_clocks_may_differ_a_little(idp_client: httpx.Client, provider: IdentityProvider) -> None:
    token = provider.sign("EdDSA", iat=int(time.time()) + 5)
    assert call(idp_client, token).status_code == 200


def test_the_log_tells_the_operator_why(
    idp_client: httpx.Client, idp_service: Service, provider: IdentityProvider
) -> None:
    call(idp_client, provider.sign("EdDSA", aud="another"))
    wait_until("a line", lambda: "InvalidAudienceError" in idp_service.log.read_text())


def test_issuer_and_audience_are_required_where_they_are_set(
    make_service: MakeService, database_url: str, provider: IdentityProvider
) -> None:
    service = make_service(
        DATABASE_URL=database_url,
        JWT_JWKS_URL=provider.url,
        JWT_ISSUER=ISSUER,
        JWT_AUDIENCE=AUDIENCE,
    )
    service.start()
    right: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE}
    with service.client() as client:
        for good in (right, right | {"aud": ["another", AUDIENCE]}):
            assert call(client, provider.sign("RS256", **good)).status_code == 200
        for bad in (
            right | {"iss": None},
            right | {"aud": None},
            right | {"iss": ISSUER + "/"},
            right | {"aud": "another"},
            right | {"aud": []},
        ):
            assert_error(call(client, provider.sign("RS256", **bad)), 401, INVALID)


@pytest.fixture
def own_provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def own_client(
    make_service: MakeService, database_url: str, own_provider: IdentityProvider
) -> Iterator[httpx.Client]:
    """A client of a service with one worker, which keeps one set of keys."""
    variables = {"JWT_JWKS_URL": own_provider.url, "WEB_CONCURRENCY": "1"}
    service = make_service(DATABASE_URL=database_url, **variables)
    service.start()
    with service.client() as client:
        yield client


@pytest.mark.slow
def test_a_new_key_is_fetched_when_a_token_names_it(
    own_client: httpx.Client, own_provider: IdentityProvider
) -> None:
    """And a flood of tokens that name none makes one fetch in ten seconds at most."""
    old = own_provider.add_key("EdDSA")
    assert call(own_client, own_provider.sign(old)).status_code == 200
    assert own_provider.fetches == 1

    new = own_provider.add_key("ES256")
    flood = [own_provider.sign(old, uuid.uuid4().hex) for _ in range(100)]
    started = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda token: call(own_client, token), flood))
    for answer in answers:
        assert_error(answer, 401, INVALID)
    passed = time.monotonic() - started
    assert own_provider.fetches <= 1 + passed / 10 + 1
    if passed < 9:
        assert own_provider.fetches == 1

    token = own_provider.sign(new)
    wait_until("the new key", lambda: call(own_client, token).status_code == 200)
    fetches = own_provider.fetches
    assert call(own_client, own_provider.sign(old)).status_code == 200
    assert own_provider.fetches == fetches


@pytest.mark.slow
def test_without_the_provider_known_keys_stay_good(
    own_client: httpx.Client, own_provider: IdentityProvider
) -> None:
    kid = own_provider.add_key("EdDSA")
    token = own_provider.sign(kid)
    assert call(own_client, token).status_code == 200
    own_provider.status = 500
    unknown = own_provider.sign(kid, "unknown")
    # A 401 as long as the keys have just been fetched: there was none of that name.
    wait_until("the next fetch", lambda: call(own_client, unknown).status_code == 503)
    assert_error(call(own_client, unknown), 503, UNAVAILABLE)
    assert call(own_client, token).status_code == 200
    assert own_provider.fetches == 2


@pytest.mark.parametrize("failure", ["nobody", "hangs", "status", "no JSON", "no keys", "a list"])
def test_what_cannot_be_known_is_a_503(
    own_client: httpx.Client,
    own_provider: IdentityProvider,
    database: psycopg.Connection,
    failure: str,
) -> None:
    """Not a 401, which would tell the client to throw its token away."""
    kid = own_provider.add_key("EdDSA")
    bodies = {"no JSON": b"{", "no keys": b'{"keys": []}', "a list": b"[1]"}
    own_provider.body = bodies.get(failure)
    if failure == "status":
        own_provider.status = 503
    elif failure == "nobody":
        own_provider.server.server_close()
    elif failure == "hangs":
        own_provider.answering.clear()
    with ThreadPoolExecutor(8) as threads:
        token = own_provider.sign(kid)
        answers = list(threads.map(lambda _: call(own_client, token), range(8)))
    for answer in answers:
        assert_error(answer, 503, UNAVAILABLE)
    assert own_client.get("/health").status_code == 200
    assert own_provider.fetches <= 1
    # A token of our own asks nobody.
    assert Account.insert(own_client, database).create()


def test_keys_that_are_known_for_long_are_fetched_again(
    own_provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a withdrawn key goes; but none is lost because the provider is away."""
    monkeypatch.setattr(key_set, "LIFETIME", -1)
    monkeypatch.setattr(key_set, "COOLDOWN", -1)
    keys = KeySet(own_provider.url)
    own_provider.add_key("EdDSA", kid="withdrawn")
    assert keys.find("withdrawn").key_id == "withdrawn"
    own_provider.status = 500
    assert keys.find("withdrawn").key_id == "withdrawn"
    own_provider.status = 200
    own_provider.keys.clear()
    own_provider.add_key("EdDSA", kid="new")
    with pytest.raises(InvalidToken):
        keys.find("withdrawn")
    assert keys.find("new").key_id == "new"
    own_provider.status = 500
    with pytest.raises(IdentityProviderUnavailable):
        keys.find("withdrawn")


def test_a_key_that_could_be_a_secret_is_none(own_provider: IdentityProvider) -> None:
    """What is published can't sign, whatever the provider says of it."""
    secret = base64.urlsafe_b64encode(SECRET.encode()).decode()
    own_provider.keys = [
        {"kty": "oct", "k": secret, "kid": "secret", "alg": "HS256"},
        {"kty": "oct", "k": secret, "kid": "disguised", "alg": "RS256"},
    ]
    own_provider.add_key("EdDSA", kid="for encryption", use="enc")
    own_provider.add_key("EdDSA", kid="good")
    keys = KeySet(own_provider.url)
    assert keys.find("good").algorithm_name == "EdDSA"
    for kid in ("secret", "disguised", "for encryption"):
        with pytest.raises(InvalidToken):
            keys.find(kid)


def test_without_a_url_no_providers_token_is_taken(
    user: Account, provider: IdentityProvider
) -> None:
    for algorithm in ALGORITHMS:
        token = provider.sign(algorithm, sub=user.id)
        assert_error(call(user.client, token), 401, INVALID)
