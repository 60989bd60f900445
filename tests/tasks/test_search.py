"""Which tasks a list holds: completed and q."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults
from tests.support.fixtures import MakeService


def find(user: Account, **params: str) -> list[str]:
    """Return the titles of the tasks found, newest first."""
    response = user.request("GET", params=params)
    assert response.status_code == 200, response.text
    return [task["title"] for task in response.json()]


def test_completed_chooses(user: Account) -> None:
    for title in ("a", "b", "c"):
        user.create(title, completed=title == "b")
    assert find(user, completed="true") == ["b"]
    assert find(user, completed="false") == ["c", "a"]
    assert find(user, completed="false", sort="created_at", q="c") == ["c"]


def test_it_looks_in_title_and_description(user: Account) -> None:
    user.create("Buy Milk")
    user.create("shopping", description="two litres of mILK")
    user.create("nothing", description="")
    assert find(user, q="milk") == ["shopping", "Buy Milk"]
    assert find(user, q="MILK") == ["shopping", "Buy Milk"]
    assert find(user, q="y m") == ["Buy Milk"]
    assert find(user, q="milkshopping") == []
    assert find(user, q="Milk\n") == []


@pytest.mark.parametrize(
    "q",
    [
        "%",
        "_",
        "\\",
        "'",
        '"',
        "%_\\",
        "\\%",
        "' OR true --",
        "$1",
        "%s",
        "%(q)s",
        "a+b",
        "?",
        "𝄞",
        "👩‍👩‍👧",
    ],
)
def test_every_character_means_itself(user: Account, q: str) -> None:
    user.create("plain")
    user.create(f"title<{q}>")
    user.create("other", description=f"<{q}>")
    assert find(user, q=q) == ["other", f"title<{q}>"]
    assert find(user, q=f"<{q}>") == ["other", f"title<{q}>"]


@pytest.mark.parametrize(
    ("text", "found", "not_found"),
    [
        ("ÉCOLE Ünïcödé ЖУК ΑΒΓ", ["école", "ÜNÏCÖDÉ", "жук", "αβγ"], ["ecole"]),
        # Letters are compared one by one, in lower case: a ß is no ss, but the capital one is a ß.
        ("Straße", ["straße", "STRAßE", "STRAẞE"], ["strasse", "STRASSE"]),
        ("STRASSE", ["strasse"], ["straße"]),
        # İ is an i in lower case, I is too; only the dotless \u0131 itself is a dotless one.
        ("İstanbul", ["istanbul", "ISTANBUL", "İSTANBUL"], ["\u0131stanbul"]),
        ("ISPARTA", ["isparta", "İSPARTA"], ["\u0131sparta"]),
        ("\u0131sparta", ["\u0131sparta"], ["isparta", "ISPARTA"]),
        # An accent of its own is a character of its own.
        ("cafe\u0301", ["CAFE\u0301", "cafe"], ["café"]),
        ("𐐀", ["𐐨", "𐐀"], []),
    ],
)
def test_case_is_folded_as_the_readme_says(
    user: Account, text: str, found: list[str], not_found: list[str]
) -> None:
    user.create(text)
    assert [q for q in found + not_found if find(user, q=q)] == found


@pytest.mark.parametrize(
    "q", ["", "%00", "a%00b", "%ed%a0%80", "%ff", "a%c3", "x" * 101, "%F0%9D%84%9E" * 101]
)
def test_it_rejects_what_cannot_be_searched_for(user: Account, q: str) -> None:
    assert_faults(user.request("GET", f"?q={q}"), ["query", "q"])


def test_it_takes_a_hundred_characters(user: Account) -> None:
    user.create("𝄞" * 100)
    assert find(user, q="𝄞" * 100) == ["𝄞" * 100]
    # As it comes from a client that doesn't escape what it should.
    response = user.client.get(f"{user.tasks}?q=" + "%F0%9D%84%9E", headers=user.headers)
    assert len(response.json()) == 1


def test_it_finds_only_the_users_own(user: Account, other_user: Account) -> None:
    user.create("mine")
    assert find(user, q="e") == ["mine"]
    assert find(other_user, q="e") == ["another user's"]


def test_a_search_has_a_time_limit_of_its_own(make_service: MakeService, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url, DB_SEARCH_TIMEOUT="0.05")
    service.start()
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as dba:
        user = Account.insert(client, dba)
        dba.execute(
            "INSERT INTO tasks (user_id, title, description)"
            " SELECT %s, n::text, repeat('some words ', 900) FROM generate_series(1, 10000) AS n",
            [user.id],
        )
        response = user.request("GET", "?q=zzz")
        assert_error(response, 503, "The database is not available")
        assert user.request("GET", "?limit=1").status_code == 200
    assert "list_tasks: QueryCanceled" in service.log.read_text()
