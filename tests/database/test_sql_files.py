"""The SQL files: one statement each, run by the one function of the same name."""

from __future__ import annotations

import ast
import inspect
import itertools
import re

import psycopg
import pytest

from taskapi.accounts import queries as accounts
from taskapi.database.statements import (
    MIGRATION_STATEMENTS,
    SQL_DIR,
    STATEMENTS,
    released_migrations,
)
from taskapi.operations import queries as operations
from taskapi.tasks import queries as tasks
from tests.support.service import ROOT

SOURCES = sorted((ROOT / "taskapi").rglob("*.py"))
# All files, those that the migrations' commands run on connections of their own included.
TEXTS = {
    str(path.relative_to(SQL_DIR)): path.read_text() for path in sorted(SQL_DIR.rglob("*.sql"))
}
# Sent around every statement, by the pool only.
FRAME = {"act_as", "find_frame", "begin", "share_settings", "commit"}
QUERIES = set(STATEMENTS) - FRAME
# PostgreSQL explains no DDL and no transactions, and only a distributed database has the function.
NOT_EXPLAINED = {"migrate/create_checksums.sql", "begin.sql", "commit.sql", "share_settings.sql"}
# The purge's.
OF_NO_USER = {"purge_closed_account"}
SQL_TEXT = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|create\s+table\b|alter\s+table"
    r"|drop\s+table|begin;|commit;|set\s+(local|session)|pg_\w+\()",
    re.IGNORECASE | re.DOTALL,
)


def strings(source: str) -> list[str]:
    """All string literals of a module but its docstrings."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_there_is_no_sql_in_python() -> None:
    assert SQL_TEXT.search("x = 'SELECT id FROM tasks'")
    for path in SOURCES:
        for text in strings(path.read_text()):
            assert not SQL_TEXT.search(text), f"{path.name}: {text!r}"


def test_each_statement_has_one_function_of_its_name() -> None:
    functions = {
        f"{module.__name__.split('.')[1]}/{name}.sql": function
        for module in (accounts, operations, tasks)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    in_folders = {name for name in TEXTS if "/" in name and not name.startswith("migrate/")}
    assert set(functions) == in_folders
    assert len(QUERIES) == len(in_folders)
    for function in functions.values():
        assert f'"{function.__name__}"' in inspect.getsource(function)
    source = (ROOT / "taskapi" / "database" / "pool.py").read_text()
    assert all(source.count(f'STATEMENTS["{name}"]') == 1 for name in FRAME)


def test_each_statement_of_the_migrations_commands_is_run_by_them() -> None:
    sources = "".join(path.read_text() for path in SOURCES if path.parent.name == "migrate")
    for name in MIGRATION_STATEMENTS:
        calls = rf'MIGRATION_STATEMENTS\["{name}"\]|_query\([a-z.]+, "{name}"'
        assert re.search(calls, sources), name


def test_each_function_has_one_caller() -> None:
    """A query that nobody calls is dead, one that several call wants a look."""
    for name in QUERIES:
        callers = [
            path.name for path in SOURCES if re.search(rf"\bqueries\.{name}\b", path.read_text())
        ]
        # What a client can do, an operator can do for the client.
        assert len(callers) == 1 or sorted(callers) == ["commands.py", "routes.py"], name


@pytest.mark.parametrize("name", TEXTS)
def test_each_file_is_one_statement_with_a_line_that_says_what_it_is_for(name: str) -> None:
    text = TEXTS[name]
    assert re.match(r"-- [A-Z][^@]*\.\n(-- @|[A-Z])", text)
    code = re.sub(r"--.*", "", text)
    assert code.count(";") == 1
    assert code.rstrip().endswith(";")
    assert not re.search(r"%s|\*", code), "named columns, named parameters"


@pytest.mark.parametrize("name", TEXTS)
def test_each_header_lists_the_parameters_and_what_is_returned(name: str) -> None:
    lines = TEXTS[name].splitlines()
    header = "\n".join(itertools.takewhile(lambda line: line.startswith("--"), lines))
    code = "\n".join(lines).removeprefix(header)
    listed = re.findall(r"^-- @param (\w+) [a-z ]+(?:\[\])?(?:$|: \w)", header, re.MULTILINE)
    used = set(re.findall(r"%\((\w+)\)s", code))
    assert len(listed) == len(set(listed))
    assert set(listed) == used
    returns = re.search(r"^(SELECT|WITH)|RETURNING", code, re.MULTILINE) is not None
    assert header.count("-- @return ") == returns


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in STATEMENTS
        if b" tasks\n" in re.sub(rb"--.*", b"", STATEMENTS[name]) and name not in OF_NO_USER
    ],
)
def test_each_statement_on_tasks_names_the_user(name: str) -> None:
    code = re.sub(r"--.*", "", STATEMENTS[name].decode())
    if "INSERT" in code:
        assert re.search(r"INSERT INTO tasks \(user_id.*SELECT\s+%\(user_id\)s", code, re.DOTALL)
    else:
        assert re.search(r"WHERE (tasks\.)?user_id = %\(user_id\)s", code)


@pytest.mark.parametrize("name", TEXTS)
def test_each_statement_plans_against_the_schema(name: str, database: psycopg.Connection) -> None:
    text = TEXTS[name]
    if name in NOT_EXPLAINED:
        return
    params = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    plan = database.execute(f"EXPLAIN {text}", params).fetchall()
    assert plan


def test_each_migration_has_its_way_back() -> None:
    ids = released_migrations()
    assert ids == sorted(ids)
    numbers = [id.partition(".")[0] for id in ids]
    assert numbers == [f"{n:04}" for n in range(1, len(ids) + 1)]
    for id in ids:
        assert re.fullmatch(r"\d{4}\.[a-z0-9]+(-[a-z0-9]+)*", id)
        assert (ROOT / "migrations" / f"{id}.rollback.sql").read_text().strip()
    files = {path.name for path in (ROOT / "migrations").iterdir()}
    pairs = {f"{id}{end}" for id in ids for end in (".sql", ".rollback.sql")}
    assert files == pairs | {"checksums"}
