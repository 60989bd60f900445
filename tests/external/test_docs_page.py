"""The page at /docs, in Debian's chromium: every call of the API is made by clicking."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.accounts import Account
from tests.support.openapi import DOCUMENT
from tests.support.service import PATIENCE, ROOT, SECRET, Service

SCREENSHOTS = ROOT / "screenshots"
OPERATIONS = {
    operation["operationId"]: operation["tags"][0]
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
}


class Docs:
    """The page, as a person uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.called: set[str] = set()

    def call(self, operation: str, body: Any = None, **parameters: str) -> tuple[int, str]:
        """Open an operation, fill in what it wants, execute it; return the status and the body."""
        block = self.page.locator(f"#operations-{OPERATIONS[operation]}-{operation}")
        block.locator(".opblock-summary-control").click()
        for name, value in parameters.items():
            block.locator(f"tr[data-param-name='{name}'] input").fill(value)
        if body is not None:
            block.locator("textarea.body-param__text").fill(json.dumps(body))
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        status = answer.locator("tbody .response-col_status").first
        expect(status).to_have_text(re.compile(r"^\d{3}"))
        code = int(status.inner_text()[:3])
        parts = answer.locator(".highlight-code pre")
        body = parts.first.inner_text() if parts.count() else ""
        if operation not in self.called:
            block.screenshot(path=SCREENSHOTS / f"{operation}.png")
        self.called.add(operation)
        block.get_by_role("button", name="Clear").click()
        expect(answer).to_have_count(0)
        block.locator(".opblock-summary-control").click()
        return code, body


@pytest.fixture
def width() -> int:
    """How wide the window is."""
    return 1280


@pytest.fixture
def page(browser: Browser, service: Service, width: int) -> Iterator[Page]:
    """The page; it asks no other host, and its policy refuses nothing."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(PATIENCE * 1000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: complaints.append(f"{line.type}: {line.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{service.url}/docs")
    yield page
    page.close()
    foreign = [url for url in asked if not url.startswith((service.url, "data:", "blob:"))]
    assert foreign == []
    # The browser itself writes a line for each answer of 4xx.
    assert [line for line in complaints if "Failed to load resource" not in line] == []


def test_every_call_can_be_made(page: Page) -> None:
    docs = Docs(page)
    credentials = {"email": f"{uuid.uuid4().hex}@example.com", "password": "a long password"}
    assert docs.call("sign_up", credentials)[0] == 201
    assert docs.call("list_tasks", user_id=str(uuid.uuid4()))[0] == 401
    assert docs.call("log_in", credentials)[0] == 200

    # The token and the user's id are filled in.
    status, created = docs.call("create_task", {"title": "Buy milk"})
    assert status == 201
    task = {"id": json.loads(created)["id"]}
    status, listed = docs.call("list_tasks")
    assert (status, json.loads(listed)) == (200, [json.loads(created)])
    assert docs.call("get_task", **task)[0] == 200
    status, changed = docs.call("update_task", {"title": "Buy oat milk"}, **task)
    assert (status, json.loads(changed)["title"]) == (200, "Buy oat milk")
    status, changed = docs.call("patch_task", {"description": "two litres"}, **task)
    assert (status, json.loads(changed)["description"]) == (200, "two litres")
    status, changed = docs.call("complete_task", {"completed": True}, **task)
    assert (status, json.loads(changed)["completed"]) == (200, True)
    status, changes = docs.call("list_changes")
    assert (status, json.loads(changes)["changes"]) == (200, [])
    status, written = docs.call("write_batch", {"operations": [{"op": "create", "title": "Jam"}]})
    assert (status, json.loads(written)["results"][0]["status"]) == (200, 201)
    assert docs.call("delete_task", **task)[0] == 204
    assert docs.call("get_task", **task)[0] == 404
    for operation in ("index", "health", "ready"):
        assert docs.call(operation)[0] == 200

    status, account = docs.call("show_account")
    assert (status, json.loads(account)["tasks"]) == (200, 1)
    new = "another long password"
    passwords = {"password": credentials["password"], "new_password": new}
    # The new token is filled in, too: the old one is revoked.
    assert docs.call("change_password", passwords)[0] == 200
    assert docs.call("revoke_tokens")[0] == 204
    assert docs.call("log_in", {**credentials, "password": new})[0] == 200
    assert docs.call("close_account", {"password": new})[0] == 204
    assert docs.called == set(OPERATIONS)
    page.screenshot(path=SCREENSHOTS / "docs.png", full_page=True)


def authorize(page: Page, token: str) -> None:
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.locator("input").fill(token)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.locator(".btn-done").click()


def remove_authorization(page: Page) -> None:
    page.get_by_role("button", name="Authorize").click()
    page.locator(".modal-ux").get_by_role("button", name="Remove authorization").click()
    page.locator(".modal-ux .btn-done").click()


def test_a_token_is_kept_for_the_tab_until_the_log_out(
    page: Page, service: Service, user: Account
) -> None:
    docs = Docs(page)
    authorize(page, user.token)
    assert docs.call("list_tasks")[0] == 200
    page.goto(f"{service.url}/docs")
    assert docs.call("list_tasks")[0] == 200
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    remove_authorization(page)
    page.goto(f"{service.url}/docs")
    assert docs.call("list_tasks", user_id=user.id)[0] == 401
    assert page.evaluate("sessionStorage.length") == 0


def test_another_login_fills_in_the_other_user(
    page: Page, user: Account, other_user: Account
) -> None:
    docs = Docs(page)
    for account in (user, other_user):
        authorize(page, account.token)
        status, listed = docs.call("list_tasks")
        assert status == 200
        assert {task["user_id"] for task in json.loads(listed)} <= {account.id}
        remove_authorization(page)


@pytest.mark.parametrize("kind", ["expired", "of no JWT"])
def test_a_token_that_is_no_use_is_not_kept(page: Page, user: Account, kind: str) -> None:
    claims = {"sub": user.id, "exp": int(time.time()) - 1}
    token = jwt.encode(claims, SECRET, algorithm="HS256") if kind == "expired" else "a.b.c"
    authorize(page, token)
    page.reload()
    page.wait_for_function("sessionStorage.length === 0")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_the_screen(page: Page, width: int, user: Account) -> None:
    """With operations open, one of them called, and with the dialog."""

    def assert_fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    user.create("a title " * 60, description="a description " * 100)
    authorize(page, user.token)
    opened = ("list_tasks", "create_task", "complete_task", "log_in")
    for operation in opened:
        block = page.locator(f"#operations-{OPERATIONS[operation]}-{operation}")
        block.locator(".opblock-summary-control").click()
    called = page.locator("#operations-Tasks-list_tasks")
    called.get_by_role("button", name="Execute").click()
    expect(called.locator(".live-responses-table tbody .response-col_status").first).to_be_visible()
    # One for each operation, and one for what the service answered.
    expect(page.locator(".responses-table")).to_have_count(len(opened) + 1)
    assert_fits()
    page.screenshot(path=SCREENSHOTS / f"docs-{width}.png", full_page=True)

    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    expect(dialog.get_by_role("button", name="Remove authorization")).to_be_in_viewport(ratio=1)
    expect(dialog.locator(".btn-done")).to_be_in_viewport(ratio=1)
    expect(dialog).to_be_in_viewport(ratio=1)
    assert_fits()
    page.screenshot(path=SCREENSHOTS / f"docs-dialog-{width}.png")
