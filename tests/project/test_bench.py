"""What the bench concludes and generates; tests/external/test_bench.py runs it."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest
from dataset import FIRST_OF_20, READER, Dataset, task_id, user_id
from floor import write_script
from load import REQUESTS
from report import PAGE, Results, judge, render, tell_aims

from tests.support.fixtures import MakePostgres
from tests.support.service import run_command


def row(system: str, rates: list[float], p99: float, connections: int = 16) -> dict[str, Any]:
    rounds = [{"requests_per_second": rate, "p99": p99} for rate in rates]
    return {"system": system, "request": "read", "connections": connections, "rounds": rounds}


def test_aims_are_judged_by_the_median_of_the_ratios_in_each_round() -> None:
    """Three noisy rounds: the ratio of the medians would be 2.5."""
    results = Results({"stacks": {"rows": [
        row("taskapi", [300, 600, 1000], 10),
        row("fastapi", [100, 200, 400], 29),
        row("flask-empty", [600, 1000, 1800], 3),
        row("taskapi", [300, 600, 1000], 10, connections=1),
    ]}})  # fmt: skip
    assert tell_aims(results).splitlines()[2:] == [
        "| read one, 16 connections: throughput by fastapi's | ≥ 3 | 3.00 (2.50 to 3.00) | yes |",
        "| read one, 16 connections: p99 by fastapi's | ≤ 0.33 | 0.34 | **no** |",
        "| read one, 16 connections: throughput by flask-empty's | ≥ 0.55"
        " | 0.56 (0.50 to 0.60) | yes |",
    ]


def test_memory_and_growth_are_judged() -> None:
    def worker(pss: float) -> dict[str, Any]:
        return {"workers": [{"pss": pss, "uss": 1}, {"pss": pss + 10, "uss": 1}]}

    def tasks(number: int, p50: float) -> dict[str, Any]:
        each = {"system": f"tasks-{number}", "request": "list", "connections": 1}
        return {**each, "rounds": [{"p50": p50}]}

    results = Results({
        "million": {"rows": [
            {"system": "taskapi", "requests": 9, "before": worker(25), "after": worker(40)},
            {"system": "fastapi", "requests": 9, "before": worker(45), "after": worker(65)},
        ]},
        "growth": {"rows": [tasks(10_000, 2.0), tasks(1_000_000, 2.1), tasks(10_000_000, 2.3)]},
    })  # fmt: skip
    judged = [(aim.wanted, aim.measured, aim.is_met) for aim in judge(results)]
    assert judged == [
        ("≤ 0.60", "0.60", True),
        ("≤ 0.60", "0.64", False),
        ("≤ 1.10", "1.05", True),
        ("≤ 1.10", "1.15", False),
    ]


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
