"""examples/web in Debian's chromium, against the service: found by labels, as a person finds it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.accounts import PASSWORD, Account, new_email
from tests.support.fixtures import MakeService
from tests.support.pages import find_command
from tests.support.service import PATIENCE, ROOT, Service, free_port, wait_until

FOLDER = ROOT / "examples" / "web"
# As many as the page asks for at a time.
LIMIT = 20
MARKUP = "<img src=x onerror='document.title = 1'>"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The origin of the page, which the command in examples/README.md serves."""
    assert find_command("CORS_ORIGINS") == "CORS_ORIGINS=http://127.0.0.1:8080 make run\n"
    command = find_command("http.server")
    port = free_port()
    for documented, ours in {"python3": shlex.quote(sys.executable), "8080": str(port)}.items():
        assert documented in command
        command = command.replace(documented, ours)
    server = subprocess.Popen(
        shlex.split(command),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    wait_until("the page's server", answers)
    yield url
    server.terminate()
    server.wait(PATIENCE)


@pytest.fixture
def api(shared_service: MakeService, origin: str) -> Service:
    """A service that lets the page in."""
    return shared_service(CORS_ORIGINS=origin)


@pytest.fixture
def account(api: Service, database: psycopg.Connection) -> Iterator[Account]:
    """A user who also has another client."""
    with api.client() as client:
        yield Account.insert(client, database)


@pytest.fixture
def page(browser: Browser, origin: str, api: Service) -> Iterator[Page]:
    """The page; no script of it fails, and its policy refuses nothing."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.set_default_timeout(PATIENCE * 1000)
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(f"{line.type}: {line.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{origin}/?api={quote(api.url)}")
    yield page
    page.close()
    # The browser itself writes a line for each answer of 4xx.
    assert [line for line in complaints if "Failed to load resource" not in line] == []


def log_in(page: Page, email: str, button: str = "Log in") -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", name="Your tasks")).to_be_visible()


def tasks_of(page: Page) -> Locator:
    return page.get_by_role("list", name="Your tasks").get_by_role("listitem")


def open_task(page: Page, title: str) -> Locator:
    page.get_by_role("button", name=f"Edit {title}").click()
    return page.get_by_role("dialog", name="Edit the task")


def assert_fault(field: Locator, message: str) -> None:
    """The field is marked, and what is wrong belongs to it for a screen reader too."""
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(message)


def test_a_person_signs_up_and_creates_a_task(page: Page) -> None:
    page.get_by_label("Email").fill("nobody")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Sign up").click()
    assert_fault(
        page.get_by_label("Email"), "Must be an email address with one @ and no white space"
    )
    assert_fault(page.get_by_label("Password"), "Must have 8 to 128 characters")
    expect(page.get_by_label("Email")).to_be_focused()

    log_in(page, new_email(), "Sign up")
    expect(tasks_of(page)).to_have_count(0)
    page.get_by_role("button", name="Add").click()
    title = page.get_by_label("New task")
    assert_fault(title, "Must have 1 to 500 characters")
    title.fill(MARKUP)
    page.get_by_role("button", name="Add").click()
    expect(tasks_of(page)).to_have_count(1)
    expect(tasks_of(page)).to_contain_text(MARKUP)
    expect(title).to_have_value("")
    expect(title).not_to_have_attribute("aria-invalid", "true")
    expect(page).to_have_title("Tasks")


def test_wrong_credentials_are_said(page: Page, account: Account) -> None:
    page.get_by_label("Email").fill(account.email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Invalid credentials")


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_person_reads_on_to_the_last_page(page: Page, account: Account, form: str) -> None:
    def rewrite_link(route: Route) -> None:
        response = route.fetch()
        headers = response.headers
        if link := headers.get("link"):
            path = link.removeprefix("<").removeprefix(str(account.client.base_url))
            headers["link"] = f"<{account.client.base_url if form == 'absolute' else ''}{path}"
        route.fulfill(response=response, headers=headers)

    page.route("**/tasks?*", rewrite_link)
    for number in range(2 * LIMIT + 1):
        account.create(f"task {number}")
    log_in(page, account.email)
    more = page.get_by_role("button", name="Show more")
    for count in (LIMIT, 2 * LIMIT):
        expect(tasks_of(page)).to_have_count(count)
        more.click()
    expect(tasks_of(page)).to_have_count(2 * LIMIT + 1)
    expect(more).to_be_hidden()
    titles = [text.split("\n")[0] for text in tasks_of(page).all_inner_texts()]
    assert [re.findall(r"task \d+", title)[0] for title in titles] == [
        f"task {number}" for number in reversed(range(2 * LIMIT + 1))
    ]


READ_ALL = """async ([url, token]) => {
    const options = {credentials: "include", headers: {Authorization: `Bearer ${token}`}};
    const titles = [];
    while (url) {
        const response = await fetch(url, options);
        titles.push(...(await response.json()).map((task) => task.title));
        const next = response.headers.get("Link")?.match(/<(.*)>; rel="next"/)[1];
        url = next && new URL(next);
    }
    return titles;
}"""


def test_another_origins_script_follows_the_links_with_credentials(
    page: Page, api: Service, account: Account
) -> None:
    for title in ("first", "second", "third"):
        account.create(title)
    first = f"{api.url}{account.tasks}?limit=2"
    assert page.evaluate(READ_ALL, [first, account.token]) == ["third", "second", "first"]


def test_a_person_edits_a_task(page: Page, account: Account) -> None:
    id = account.create("Buy milk", description="two litres\r\nof oat")["id"]
    log_in(page, account.email)
    dialog = open_task(page, "Buy milk")
    dialog.get_by_label("Title").fill(" ")
    dialog.get_by_role("button", name="Save").click()
    assert_fault(dialog.get_by_label("Title"), "Must have 1 to 500 characters")
    dialog.get_by_label("Title").fill("Buy oat milk")
    dialog.get_by_label("Completed").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(tasks_of(page)).to_contain_text("Buy oat milk (completed)")
    expect(page.get_by_role("button", name="Edit Buy oat milk")).to_be_focused()
    task = account.request("GET", f"/{id}").json()
    # What was not edited is not sent: a field of the browser would change the line's end.
    assert (task["title"], task["completed"]) == ("Buy oat milk", True)
    assert task["description"] == "two litres\r\nof oat"


def test_a_change_in_between_is_shown_and_kept(page: Page, account: Account) -> None:
    task = account.create("Buy milk")
    log_in(page, account.email)
    dialog = open_task(page, "Buy milk")
    dialog.get_by_label("Title").fill("Buy oat milk")
    account.request("PATCH", f"/{task['id']}", json={"title": "Milk", "description": "two litres"})

    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        "It is now: Milk, two litres, not completed."
    )
    expect(dialog.get_by_label("Title")).to_have_value("Buy oat milk")
    expect(dialog.get_by_label("Description")).to_have_value("two litres")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog).to_be_hidden()
    changed = account.request("GET", f"/{task['id']}").json()
    assert (changed["title"], changed["description"]) == ("Buy oat milk", "two litres")


def test_a_person_can_take_the_change_in_between(page: Page, account: Account) -> None:
    task = account.create("Buy milk")
    log_in(page, account.email)
    dialog = open_task(page, "Buy milk")
    dialog.get_by_label("Title").fill("Buy oat milk")
    account.request("PATCH", f"/{task['id']}", json={"title": "Milk"})
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Discard my changes").click()
    expect(dialog).to_be_hidden()
    expect(tasks_of(page)).to_contain_text("Milk")
    assert account.request("GET", f"/{task['id']}").json()["title"] == "Milk"


def test_a_task_that_is_gone_is_said(page: Page, account: Account) -> None:
    task = account.create("Buy milk")
    log_in(page, account.email)
    dialog = open_task(page, "Buy milk")
    dialog.get_by_label("Title").fill("Buy oat milk")
    account.request("DELETE", f"/{task['id']}")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_have_text("Task not found")


def test_an_answer_that_was_lost_makes_no_second_task(page: Page, account: Account) -> None:
    log_in(page, account.email)
    page.get_by_label("New task").fill("Buy milk")

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/tasks", lose)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("No response from")
    page.unroute("**/tasks")
    page.get_by_role("button", name="Add").click()
    expect(tasks_of(page)).to_have_count(1)
    assert len(account.request("GET").json()) == 1


def test_a_service_that_keeps_the_page_out_is_explained(
    browser: Browser, origin: str, service: Service
) -> None:
    page = browser.new_page()
    page.goto(origin)
    page.get_by_label("API").fill(service.url)
    page.get_by_label("Email").fill(new_email())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    alert = page.get_by_role("alert").filter(visible=True)
    expect(alert).to_contain_text("CORS_ORIGINS")
    expect(alert).to_contain_text(origin)
    page.close()


def test_the_example_stays_small() -> None:
    lines = "\n".join(file.read_text() for file in FOLDER.iterdir()).splitlines()
    assert sum(line.strip() != "" for line in lines) < 200
    assert max(map(len, lines)) <= 100
    assert "innerHTML" not in "".join(lines)
