"""The API's document says what the service does, and all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from taskapi.version import VERSION
from tests.support.accounts import PASSWORD, Account
from tests.support.checks import assert_error
from tests.support.openapi import DOCUMENT, UNDOCUMENTED, examples, make_app, resolve
from tests.support.service import run_command

# An error's second form. It has no example but those of its members.
PROBLEMS = [{"$ref": f"#/components/schemas/{name}"} for name in ("Problem", "FaultsProblem")]
METHODS = ("get", "put", "post", "delete", "patch")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every media type of a request or an answer, with where it stands."""
    for path, method, operation in operations():
        where = f"{method} {path}"
        for media_type in operation.get("requestBody", {}).get("content", {}).values():
            yield where, media_type
        for status, response in operation["responses"].items():
            for media_type in resolve(response).get("content", {}).values():
                yield f"{where} {status}", media_type


def assert_valid(value: Any, schema: dict[str, Any]) -> None:
    Draft202012Validator(
        schema | {"components": DOCUMENT["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).validate(value)


def test_it_is_served_as_json(client: httpx.Client) -> None:
    response = client.get("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT


def test_it_is_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_it_has_every_route_and_no_other() -> None:
    app = make_app()
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in UNDOCUMENTED
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert routes == {(path, method) for path, method, _ in operations()}


def test_an_operation_has_its_parameters_and_is_explained() -> None:
    ids = set()
    for path, _, operation in operations():
        parameters = [resolve(parameter) for parameter in operation["parameters"]]
        in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert in_path == {name for name in ("user_id", "id") if f"{{{name}}}" in path}
        assert "X-Request-ID" in {parameter["name"] for parameter in parameters}
        assert operation["summary"].endswith(".")
        # The page at /docs and generated clients show it as plain text, without Markdown.
        assert not set("`*_[") & set(operation["summary"])
        assert operation["operationId"] not in ids
        ids.add(operation["operationId"])
        assert "500" in operation["responses"]
        is_public = operation.get("security") == []
        is_of_user = "user_id" in in_path
        assert not is_of_user or "403" in operation["responses"]
        assert not is_public or "403" not in operation["responses"]


def test_the_values_of_sort_have_names_in_generated_clients() -> None:
    """One of each, in their order: a generator makes a name of `-created_at` that says nothing."""
    parameters = DOCUMENT["paths"]["/api/{user_id}/tasks"]["get"]["parameters"]
    [sort] = [each["schema"] for each in parameters if each.get("name") == "sort"]
    for key in ("x-enum-varnames", "x-enum-descriptions"):
        assert len(set(sort[key])) == len(sort["enum"])


def test_every_answer_has_a_request_id_and_its_schema() -> None:
    for path, method, operation in operations():
        for status, reference in operation["responses"].items():
            response = resolve(reference)
            assert response["headers"]["X-Request-ID"], (path, method, status)
            assert ("content" in response) == (status not in ("204", "303", "304"))
            assert ("WWW-Authenticate" in response["headers"]) == (status == "401")
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))


def test_the_examples_are_valid() -> None:
    count = 0
    for where, content in contents():
        assert examples(content) or content["schema"] in PROBLEMS, where
        for value in examples(content).values():
            assert_valid(value, content["schema"])
            count += 1
    for schema in DOCUMENT["components"]["schemas"].values():
        for property in schema["properties"].values():
            for example in property.get("examples", []):
                assert_valid(example, property)
                count += 1
    assert count > 100


def test_the_service_takes_the_examples(
    client: httpx.Client, user: Account, database: psycopg.Connection[Any]
) -> None:
    """And what it answers is valid, headers included."""
    sent = 0
    for path, method, operation in operations():
        body = operation.get("requestBody", {"content": {}})
        requests = [
            (media_type, example)
            for media_type, content in body["content"].items()
            for example in examples(content).values()
        ]
        for media_type, example in requests or [("application/json", None)]:
            value = example
            task_path = path.format(user_id=user.id, id=user.create()["id"])
            if path.startswith("/api/auth") and value is not None:
                email = f"{sent}.{user.email}" if path.endswith("signup") else user.email
                value = example | {"email": email, "password": PASSWORD}
            is_of_account = path.startswith("/api/auth") and "security" not in operation
            owner = Account.insert(client, database) if is_of_account else user
            headers = owner.headers | {"Content-Type": media_type}
            kwargs = {} if value is None else {"json": value}
            response = client.request(method, task_path, headers=headers, **kwargs)
            expected = next(iter(operation["responses"]))
            assert response.status_code == int(expected), response.text
            answer = operation["responses"][expected]
            if "content" in answer:
                assert_valid(response.json(), answer["content"]["application/json"]["schema"])
            for name, reference in answer["headers"].items():
                header = resolve(reference)
                assert name in response.headers or not header["required"], (path, name)
                if name in response.headers and header["schema"]["type"] == "string":
                    assert_valid(response.headers[name], header["schema"])
            sent += 1
    assert sent > 15


def test_the_members_of_a_task_are_those_that_sql_returns(user: Account) -> None:
    task = DOCUMENT["components"]["schemas"]["Task"]
    assert set(task["required"]) == set(task["properties"]) == set(user.create())


def test_an_operation_is_called_and_summarized_as_its_view() -> None:
    app = make_app()
    views = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower()): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, method, operation in operations():
        endpoint = views[path, method]
        docstring = app.view_functions[endpoint].__doc__ or ""
        assert operation["operationId"] == endpoint.partition(".")[2]
        assert operation["summary"] == docstring.partition("\n")[0]


def test_the_version_is_the_releases() -> None:
    assert DOCUMENT["info"]["version"] == VERSION


def test_the_root_says_where_things_are(client: httpx.Client) -> None:
    index = client.get("/").json()
    assert (index["name"], index["version"]) == ("taskapi", VERSION)
    assert set(index["links"]) == {"docs", "openapi", "health", "ready"}
    for path in index["links"].values():
        assert client.get(path).status_code == 200


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", ["text/html", BROWSER, "text/*", "text/html, */*;q=0.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_leads_a_browser_to_the_page(
    client: httpx.Client, method: str, accept: str
) -> None:
    response = client.request(method, "/", headers={"Accept": accept})
    assert (response.status_code, response.headers["Location"]) == (303, "/docs")
    assert (response.headers["Vary"], response.content) == ("Accept", b"")


@pytest.mark.parametrize(
    "accept",
    [
        *(
            "*/*",
            "application/json",
            "application/json, text/html",
            "text/html;q=0.5, */*",
            "",
            "?",
        ),
        *("text/plain", "image/*", "text/html;q=0", "application/*;q=0.9, text/html;q=0.8"),
    ],
)
def test_the_root_answers_every_other_client_with_json(client: httpx.Client, accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})
    assert (response.status_code, response.json()["name"]) == (200, "taskapi")
    assert response.headers["Vary"] == "Accept"


def test_turned_off_it_is_not_there_and_costs_nothing() -> None:
    code = (
        "import sys\n"
        "from taskapi import create_app\n"
        "from taskapi.config import load_config\n"
        "client = create_app(load_config()).test_client()\n"
        "paths = '/openapi.json', '/docs', '/docs/swagger-ui.css', '/'\n"
        "print(*(client.get(path).status_code for path in paths))\n"
        "root = client.get('/', headers={'Accept': 'text/html'})\n"
        "print(root.status_code, root.headers.get('Vary'))\n"
        "print('docs' in root.text, 'yaml' in sys.modules,\n"
        "    'flask_swagger_ui' in sys.modules, 'taskapi.openapi.routes' in sys.modules)\n"
    )
    done = run_command("-c", code, DATABASE_URL="postgresql://x/y", JWT_SECRET="x" * 32, DOCS="off")
    printed = ["404 404 404 200", "200 None", "False False False False"]
    assert done.stdout.splitlines() == printed, done.stderr


def test_the_page_lets_nothing_foreign_in(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "http" not in page.text
    for file in (
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "favicon-32x32.png",
        "start.js",
        "narrow.css",
    ):
        assert f"/docs/{file}" in page.text
        assert client.get(f"/docs/{file}").status_code == 200


@pytest.mark.parametrize("file", ["nope.js", "%2e%2e", "%2e%2e%2fflask_swagger_ui.py", "index.css"])
def test_the_page_has_no_other_file(client: httpx.Client, file: str) -> None:
    response = client.get(f"/docs/{file}")
    assert_error(response, 404)


def test_a_browser_that_has_a_file_is_told_so(client: httpx.Client) -> None:
    first = client.get("/docs/swagger-ui.css")
    again = client.get("/docs/swagger-ui.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
