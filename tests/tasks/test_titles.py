"""A title is one line that can be seen, and one of an earlier release can be kept."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults

LINE = "Must be one line, without control characters and bidirectional overrides"
INVISIBLE = "Must have a visible character"
# Accepted by earlier releases.
OLD_TITLE = "first\nsecond \u202ethird"


@pytest.mark.parametrize(
    ("title", "message"),
    [
        *(
            (title, LINE)
            for title in ("a\nb", "a\r\nb", "a\tb", "\x07a", "a\x7f", "a\x9fb", "\x01")
        ),
        *((f"a{separator}b", LINE) for separator in "\u0085\u2028\u2029"),
        *((f"{control}abc", LINE) for control in "\u202a\u202b\u202c\u202d\u202e"),
        *((f"abc{control}", LINE) for control in "\u2066\u2067\u2068\u2069"),
        *((title, INVISIBLE) for title in ("\u200b", "\ufeff", "\u00ad", "\u200d\ufe0f", "\u2800")),
        *((title, INVISIBLE) for title in ("\u200b \u200b", "\u3164", "\u115f", "\U000e0041")),
    ],
)
def test_it_rejects_what_is_no_visible_line(user: Account, title: str, message: str) -> None:
    task = user.create()
    for method, path in (("POST", ""), ("PUT", f"/{task['id']}"), ("PATCH", f"/{task['id']}")):
        response = user.request(method, path, json={"title": title})
        assert_faults(response, ["body", "title"])
        assert response.json()["detail"][0]["msg"] == message
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize(
    "title",
    [
        *(
            "\U0001f469\u200d\U0001f469\u200d\U0001f467",
            "\u2764\ufe0f",
            "\u263a\ufe0e",
            "1\ufe0f\u20e3",
        ),
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        *(
            "\u05e9\u05dc\u05d5\u05dd",
            "\u0645\u0631\u062d\u0628\u0627 \u200fabc\u200e",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        *(
            "e\u0301\u0323",
            "\u0915\u094d\u200d\u0937",
            "\u0e01\u0e33",
            "co\u00adoperate",
            "\u200ba",
        ),
        *("\u65e5\u672c\u3000\u8a9e", "a\u00a0b", "\u2026", ".", "\U0002070e", "\ufffd"),
    ],
)
def test_it_takes_the_text_of_any_language(user: Account, title: str) -> None:
    assert user.create(title)["title"] == title


def test_white_space_at_the_ends_is_no_second_line(user: Account) -> None:
    assert user.create(" \n\tone line\r\n\u2028")["title"] == "one line"


def test_a_description_may_have_lines(user: Account) -> None:
    description = "one\n\ttwo\u2028\u202e\u200b\x01"
    assert user.create("t", description=description)["description"] == description


@pytest.fixture
def old_task(user: Account, database: psycopg.Connection) -> dict[str, Any]:
    """A task whose title an earlier release has stored."""
    task = user.create()
    database.execute("UPDATE tasks SET title = %s WHERE id = %s", [OLD_TITLE, task["id"]])
    old: dict[str, Any] = user.request("GET", f"/{task['id']}").json()
    assert old["title"] == OLD_TITLE
    return old


def test_an_old_title_is_shown_and_kept(user: Account, old_task: dict[str, Any]) -> None:
    """Also where the client sends back the task that it has read."""
    path = f"/{old_task['id']}"
    assert user.request("GET").json() == [old_task]
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", f"{path}/complete", {"completed": True}),
        ("PATCH", path, {"description": "by PATCH"}),
        ("PATCH", path, old_task | {"description": "by PATCH with the title"}),
        ("PUT", path, old_task | {"description": "by PUT"}),
        ("PUT", path, {"title": f"\n {OLD_TITLE} "}),
    ]
    for method, url, body in requests:
        response = user.request(method, url, json=body)
        assert response.status_code == 200, response.text
        assert response.json()["title"] == OLD_TITLE
        expected = body.get("description", response.json()["description"])
        assert response.json()["description"] == expected
    assert user.request("PUT", path, json={"title": "new"}).json()["title"] == "new"
    assert_faults(user.request("PUT", path, json={"title": OLD_TITLE}), ["body", "title"])


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_old_title_does_not_excuse_another(
    user: Account, other_user: Account, old_task: dict[str, Any], method: str
) -> None:
    path = f"/{old_task['id']}"

    def send(body: dict[str, Any], path: str = path, **headers: str) -> httpx.Response:
        return user.request(method, path, json=body, headers=headers)

    title = {"title": OLD_TITLE}
    assert_faults(send({"title": OLD_TITLE + "\n!"}), ["body", "title"])
    assert_faults(send({"title": "a\0"}), ["body", "title"])
    assert_faults(send(title | {"description": 5}), ["body", "title"], ["body", "description"])
    # As any refused title: before 404 and 412.
    assert_faults(send(title, f"/{user.id}"), ["body", "title"])
    foreign = other_user.request("GET").json()[0]["id"]
    assert_faults(send(title, f"/{foreign}"), ["body", "title"])
    stale = {"If-Match": '"x"'}
    assert_faults(send({"title": "a\nb"}, **stale), ["body", "title"])
    assert_error(send(title, **stale), 412, "The task has changed since")
    assert user.request("GET", path).json() == old_task


def test_an_old_title_makes_no_new_task(user: Account) -> None:
    assert_faults(user.request("POST", json={"title": OLD_TITLE}), ["body", "title"])
