"""The bench itself: a short run of it, and that it notices each kind of wrong answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from load import REQUESTS
from rounds import Bench, Options
from systems import TASKAPI, BenchError

from tests.support.service import run_command


def test_a_short_run_measures_all_requests() -> None:
    done = run_command(
        *("bench/compare.py", "--parts", "stacks,floor,pool,starts", "--systems", "taskapi"),
        *("--connections", "8", "--rounds", "1", "--seconds", "1"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    stacks, floor, pool, starts = done.stdout.strip().split("\n\n")
    rows = [len(table.splitlines()) - 2 for table in (stacks, floor, starts)]
    assert rows == [7, 6, 1]
    assert '| "too many connections" in the logs | 0 |' in pool


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    options = Options(
        parts=[], kinds=[], requests=[], connections=[], rounds=1, seconds=1, logs=True, save=False
    )
    with Bench(options, tmp_path_factory.mktemp("bench"), estimate=1) as bench:
        yield bench


@pytest.mark.parametrize(
    ("lie", "request_name", "finding"),
    [
        ("another's", "read", "answers were wrong"),
        ("twice", "create", "told that a task was created"),
        ("twice", "toggle", "were wrong|what the last answer said"),
        ("unwritten", "put", "aren't what the last answer said"),
        ("failing", "list", "errors were answered"),
    ],
)
def test_the_bench_fails_on(bench: Bench, lie: str, request_name: str, finding: str) -> None:
    arguments = ["-m", "gunicorn", "--config", "gunicorn.conf.py", "tests.support.liar:app"]
    liar = replace(TASKAPI, python=Path(sys.executable), arguments=lambda *_: arguments)
    system = bench.make_system(liar, name=f"{lie}-{request_name}", LIE=lie)
    with bench.targets([system]) as [target], pytest.raises(BenchError, match=finding):
        target.measure(REQUESTS[request_name], 8, 1)
