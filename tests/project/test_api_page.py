"""docs/api.md, run as it stands; its tables are those of the code."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from taskapi.tasks.batch import OPERATIONS
from taskapi.tasks.routes import CHANGES, LIST
from taskapi.web.errors import ANSWERS
from tests.support.accounts import Account
from tests.support.checks import MEMBERS
from tests.support.fixtures import MakeService
from tests.support.openapi import DOCUMENT, make_app
from tests.support.pages import assert_printed, read_blocks, run_commands
from tests.support.service import ROOT, environment

# Three errors, as the page's code prints them.
SHOWN = [
    "title: Field required\ncompleted: Must be true or false\n",
    "body: Must be a JSON object\n",
    "Task not found\n",
]

PAGE = (ROOT / "docs" / "api.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def read_rows(section: str) -> list[list[str]]:
    """Return the rows of the tables of a section."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows
    return rows


def test_every_command_of_the_api_page_prints_what_it_says(
    make_service: MakeService, own_url: str, tmp_path: Path
) -> None:
    assert len(read_blocks(PAGE)) > 5
    service = make_service(DATABASE_URL=own_url)
    service.start()
    assert_printed(PAGE, run_commands(PAGE, tmp_path, environment(API=service.url)))


def test_the_api_page_has_every_route() -> None:
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in make_app().url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and rule.endpoint != "docs.asset"
    }
    listed = {
        (*route.split(" "), success)
        for cell, success, *_ in read_rows("Routes")[2:]
        for route in cell.split(", ")
    }
    assert {(method, path) for method, path, _ in listed} == routes
    for method, path, success in listed:
        operation = DOCUMENT["paths"].get(path, {}).get(method.lower())
        if operation:
            assert success in operation["responses"], path


def test_the_api_page_has_every_member_and_parameter() -> None:
    first_table = takewhile(lambda row: row[0] != "Request", read_rows("Tasks")[2:])
    members = {name for cell, *_ in first_table for name in re.findall(r"`(\w+)`", cell)}
    assert members == MEMBERS
    for section, names in (
        ("Lists", LIST.fields),
        ("Follow the changes", CHANGES.fields),
        ("Batches", OPERATIONS),
    ):
        listed = {
            name for cell, *_ in read_rows(section)[2:] for name in re.findall(r"`(\w+)`", cell)
        }
        assert listed == set(names), section


def test_positions_are_made_as_the_page_says() -> None:
    [code] = (block for block in PYTHON if "fractional_indexing" in block)
    made: dict[str, Any] = {}
    exec(code, made)  # noqa: S102
    said = re.findall(r'^(\w+) = .*# "(\w+)"', code, re.MULTILINE)
    assert len(said) == 3
    assert {name: made[name] for name, _ in said} == dict(said)


def test_python_shows_faults_as_the_page_says(
    user: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = (block for block in PYTHON if "response" in block)
    assert code.count("\n") == 3
    shown = []
    for response in (
        user.request("POST", json={"completed": "yes"}),
        user.request("POST", json=[]),
        user.request("GET", f"/{user.id}"),
    ):
        exec(code, {"response": response})  # noqa: S102
        shown.append(capsys.readouterr().out)
    assert shown == SHOWN


def test_the_api_page_has_every_error() -> None:
    listed = [(int(status), detail) for status, detail, *_ in read_rows("Errors")[2:]]
    expected = {(answer.status, answer.detail) for answer in ANSWERS.values()}
    assert sorted(listed) == sorted(expected | {(422, "(the list of faults)")})
