"""The page at /docs, in Debian's chromium: every call of the API is made by clicking."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.openapi import DOCUMENT
from tests.support.service import PATIENCE, ROOT, Service

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
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page; it asks no other host, and its policy refuses nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
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
    status, login = docs.call("log_in", credentials)
    assert status == 200
    user = {"user_id": json.loads(login)["user_id"]}
    assert docs.call("list_tasks", **user)[0] == 401

    page.get_by_role("button", name="Authorize").click()
    page.locator(".modal-ux input").fill(json.loads(login)["token"])
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux .btn-done").click()

    status, created = docs.call("create_task", {"title": "Buy milk"}, **user)
    assert status == 201
    task = user | {"id": json.loads(created)["id"]}
    status, listed = docs.call("list_tasks", **user)
    assert (status, json.loads(listed)) == (200, [json.loads(created)])
    assert docs.call("get_task", **task)[0] == 200
    status, changed = docs.call("update_task", {"title": "Buy oat milk"}, **task)
    assert (status, json.loads(changed)["title"]) == (200, "Buy oat milk")
    status, changed = docs.call("patch_task", {"description": "two litres"}, **task)
    assert (status, json.loads(changed)["description"]) == (200, "two litres")
    status, changed = docs.call("complete_task", {"completed": True}, **task)
    assert (status, json.loads(changed)["completed"]) == (200, True)
    assert docs.call("delete_task", **task)[0] == 204
    assert docs.call("get_task", **task)[0] == 404
    for operation in ("index", "health", "ready"):
        assert docs.call(operation)[0] == 200
    assert docs.called == set(OPERATIONS)
    page.screenshot(path=SCREENSHOTS / "docs.png", full_page=True)
