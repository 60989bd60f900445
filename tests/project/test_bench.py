"""What the bench concludes and generates; tests/external/test_bench_programs.py runs it."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dataset import FIRST_OF_20, READER, Dataset, task_id, user_id
from floor import write_script
from load import REQUESTS
from report import PAGE, WANTED, Results, judge, render, tell_aims, tell_conclusion
from systems import KINDS, NODE_PACKAGES

from taskapi.database.statements import released_migrations
from taskapi.migrate.files import number_of
from tests.support.fixtures import MakePostgres
from tests.support.releases import LAST_MIGRATION, NoHistory, unpack_release_before
from tests.support.service import ROOT, run_command


def row(
    system: str, rates: list[float], p99: float, connections: int = 16, refused: int = 0
) -> dict[str, Any]:
    counts = {"right": 1000 - refused, "refused": {"429": refused} if refused else {}, "errors": 0}
    rounds = [{"requests_per_second": rate, "p99": p99, **counts} for rate in rates]
    return {"system": system, "request": "read", "connections": connections, "rounds": rounds}


def test_aims_are_judged_by_the_median_of_the_ratios_in_each_round() -> None:
    """Three noisy rounds: the ratio of the medians would be 2.5."""
    results = Results({"stacks": {"rows": [
        row("taskapi", [300, 600, 1000], 10),
        row("starlette", [300, 600, 1100], 10),
        row("fastify", [700, 1400, 2000], 1),
        row("fastapi", [100, 200, 400], 29),
        row("flask-empty", [600, 1000, 1800], 3),
        row("taskapi", [300, 600, 1000], 10, connections=1),
    ]}})  # fmt: skip
    assert tell_aims(results).splitlines()[2:] == [
        "| read one at 16 connections: throughput relative to starlette | ≥ 1"
        " | 1.00 (0.91 to 1.00) | met |",
        "| read one at 16 connections: p99 relative to starlette | ≤ 1.00 | 1.00 | met |",
        "| read one at 16 connections: throughput relative to fastify | ≥ 0.5"
        " | 0.43 (0.43 to 0.50) | **not met** |",
        "| read one at 16 connections: throughput relative to fastapi | ≥ 3"
        " | 3.00 (2.50 to 3.00) | met |",
        "| read one at 16 connections: p99 relative to fastapi | ≤ 0.33 | 0.34 | **not met** |",
        "| read one at 16 connections: throughput relative to flask-empty | ≥ 0.55"
        " | 0.56 (0.50 to 0.60) | met |",
    ]


@pytest.mark.parametrize(("refused", "is_met"), [(10, True), (11, False)])
def test_no_aim_is_met_by_refusing_requests(refused: int, is_met: bool) -> None:
    rows = [row("taskapi", [100], 10, refused=refused), row("starlette", [100], 10)]
    judged = [(aim.measured, aim.is_met) for aim in judge(Results({"stacks": {"rows": rows}}))]
    assert judged == [(f"1.00, failed: 429: {refused / 10} %", is_met)] * 2


def test_the_conclusion_says_what_is_met_and_where_the_extremes_are() -> None:
    results = Results({
        "stacks": {"rows": [
            row("taskapi", [100], 10),
            row("taskapi", [120], 10, connections=50),
            row("starlette", [80], 10),
            row("starlette", [150], 20, connections=50),
        ]},
        "pool": {"p95": 250},
    })  # fmt: skip
    assert tell_conclusion(results).splitlines() == [
        "- 3 of 5 aims are met.",
        "- **starlette**: 3 of 4 aims are met. Relative to starlette, throughput is 0.80 (read one"
        " at 50 connections) to 1.25 (read one at 16 connections), p99 is 0.50 (read one at 50"
        " connections) to 1.00 (read one at 16 connections).",
        "- Not measured: fastify, fastapi, flask-empty.",
    ]


def test_memory_and_growth_are_judged() -> None:
    def worker(pss: float) -> dict[str, Any]:
        return {"workers": [{"pss": pss, "uss": 1}, {"pss": pss + 10, "uss": 1}]}

    def tasks(number: int, p50: float) -> dict[str, Any]:
        each = {"system": f"tasks-{number}", "request": "list", "connections": 1}
        return {**each, "rounds": [{"p50": p50}]}

    def memory(requests: int) -> dict[str, Any]:
        return {"rows": [
            {"system": "taskapi", "requests": requests, "before": worker(20), "after": worker(40)},
            {"system": "fastapi", "requests": requests, "before": worker(45), "after": worker(65)},
        ]}  # fmt: skip

    results = Results({
        "memory": memory(20_000),
        "million": memory(1_000_000),
        "growth": {"rows": [tasks(10_000, 2.0), tasks(1_000_000, 2.1), tasks(10_000_000, 2.3)]},
    })  # fmt: skip
    pss = "memory of a worker (PSS) relative to fastapi"
    p50 = "p50 relative to 10,000 tasks"
    judged = [(aim.name, aim.wanted, aim.measured, aim.is_met) for aim in judge(results)]
    assert judged == [
        (f"at start: {pss}", "≤ 0.50", "0.50", True),
        (f"after 20,000 requests: {pss}", "≤ 0.50", "0.64", False),
        (f"after 1,000,000 requests: {pss}", "≤ 0.50", "0.64", False),
        (f"list of 20 at 1 connection, 1,000,000 tasks: {p50}", "≤ 1.10", "1.05", True),
        (f"list of 20 at 1 connection, 10,000,000 tasks: {p50}", "≤ 1.10", "1.15", False),
    ]


def test_each_peer_of_the_bench_has_its_aims_or_is_kept_for_comparison() -> None:
    assert [name for name in KINDS if name not in WANTED] == ["taskapi", "django", "wsgi-empty"]
    for wanted in WANTED.values():
        assert set(wanted.throughput) <= set(REQUESTS)


def test_what_node_installs_is_pinned_and_has_no_address() -> None:
    folder = NODE_PACKAGES.parent
    asked = json.loads((folder / "package.json").read_text())
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    root = locked.pop("")
    assert root["dependencies"] == asked["dependencies"]
    for name, version in asked["dependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for package in locked.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_the_page_shows_the_results() -> None:
    page = PAGE.read_text()
    for name, shown in render(Results.load()).items():
        assert f"<!-- {name} -->\n{shown}<!-- end of {name} -->" in page, f"{name}: make bench"


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "login"])
def test_pgbench_gets_each_statement_whole(name: str) -> None:
    """A statement with a parameter that the bench doesn't know raises."""
    script, variables = write_script(REQUESTS[name])
    assert "%(" not in script
    for variable in variables:
        assert f":{variable}" in script


def test_the_database_is_filled_as_its_numbers_say(make_postgres: MakePostgres) -> None:
    postgres = make_postgres()
    with closing(Dataset(postgres.url, "bench", 2100)) as dataset:
        dataset.make()
        numbers = range(1, 2101)
        tasks = dataset.describe(map(task_id, numbers))
        assert len(tasks) == 2100
        for number in numbers:
            assert tasks[task_id(number)]["user_id"] == user_id(dataset.owner(number))
        for user in range(FIRST_OF_20, dataset.users + 1):
            assert {dataset.owner(number) for number in dataset.tasks_of(user)} == {user}
            assert len(dataset.tasks_of(user)) == 20
        lists = dataset.lists([user_id(number) for number in range(1, dataset.users + 1)])
        assert sorted(map(len, lists.values())) == [20] * 5 + [1000] * 2
        one = tasks[task_id(1)]
        assert (len(one["title"]), len(one["description"])) == (60, 120)
        assert dataset.owner(1) == READER


@pytest.mark.slow
def test_pages_of_a_list_are_compared_by_their_position() -> None:
    """A few rounds tell nothing about time: the exit code of the real ones does."""
    done = run_command("bench/pages.py", "--page", "3", "--rounds", "4")
    assert (done.returncode in (0, 1), done.stderr) == (True, ""), done.stderr
    assert "4 rounds, 200 tasks a page, 800 tasks of the user among 2,400" in done.stdout
    assert re.search(r"^ratio: \d+\.\d{3}$", done.stdout, re.MULTILINE)
    first, third = done.stdout.split("\nthe plan of page ")[1:]
    assert "ROW('infinity'::" in first
    assert "ROW('2026-01-01 " in third


def test_without_history_there_is_no_release_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    with pytest.raises(NoHistory, match="whole history"):
        unpack_release_before(tmp_path / "before")


@pytest.mark.long
def test_each_migration_is_measured() -> None:
    """On few tasks, which tells nothing about time."""
    done = run_command("bench/migrations.py", "--tasks", "5000", "--quiet", "1")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\S+) \| [\d.]+ s \|", done.stdout, re.MULTILINE)
    assert rows == ["none", *migrations_to_measure()]
    assert "| tasks_pkey |" in done.stdout


@pytest.mark.long
def test_the_release_before_is_compared() -> None:
    """One short round tells nothing about time."""
    done = run_command("bench/releases.py", "--rounds", "1", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (read one|list of 20|create) \| (1|16) \|", done.stdout, re.MULTILINE)
    assert len(set(rows)) == 6


def test_the_database_page_says_what_each_migration_costs() -> None:
    """If not: `make bench-migrations ARGS=--save`."""
    page = (ROOT / "docs" / "database.md").read_text()
    measured = page.partition("<!-- migrations -->")[2].partition("<!-- end of migrations -->")[0]
    assert [id for id in migrations_to_measure() if f"\n| {id} |" not in measured] == []


def migrations_to_measure() -> list[str]:
    return [id for id in released_migrations() if number_of(id) > LAST_MIGRATION]
