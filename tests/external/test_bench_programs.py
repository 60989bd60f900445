"""The bench itself: a short run of it, and that it notices each kind of wrong answer."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from dataset import READER, WRITER, task_id, user_id
from load import REQUESTS
from rounds import Bench, Options
from systems import KINDS, TASKAPI, BenchError

from tests.support.service import run_command

pytestmark = pytest.mark.peers

STACKS = [name for name, kind in KINDS.items() if not kind.is_empty]
ONE = f"/api/{user_id(READER)}/tasks/{task_id(1)}"


def test_a_short_run_measures_each_part() -> None:
    """Without logins, of which a busy machine may answer none in a second."""
    done = run_command(
        *("bench/compare.py", "--parts", "stacks,floor,pool,starts", "--systems", "taskapi"),
        *("--requests", "read,list,list_1000,create,put,toggle"),
        *("--connections", "8", "--rounds", "1", "--seconds", "1"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    conclusion, aims, stacks, floor, pool, starts = done.stdout.strip().split("\n\n")
    # A busy machine misses the aim.
    assert re.fullmatch(
        "- [01] of 1 aims are met.\n- Not measured: starlette, fastify, fastapi, flask-empty.",
        conclusion,
    )
    assert aims.splitlines()[-1].startswith("| create at 50 connections: p95 | < 200 ms |")
    rows = [len(table.splitlines()) - 2 for table in (stacks, floor, starts)]
    assert rows == [6, 6, 1]
    assert '| "too many connections" in the logs | 0 |' in pool


def test_a_short_run_measures_what_the_feed_costs() -> None:
    done = run_command(
        *("bench/feed.py", "--rounds", "1", "--seconds", "1"),
        *("--tasks", "10000", "--toggles", "100"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    tables = done.stdout.strip().split("\n\n")
    rows = [len(table.splitlines()) - 2 for table in tables]
    # Four requests of one user and of many, three ways; two ways; two; three of three; three, twice
    assert rows == [24, 2, 2, 9, 6, 6]


def test_the_bench_goes_on_without_node_only_if_it_is_told_so(tmp_path: Path) -> None:
    for name in ("wrk", "setpriv"):
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    run = ("bench/compare.py", "--parts", "starts", "--systems", "wsgi-empty,fastify")
    refused = run_command(*run, PATH=str(tmp_path))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "bench: fastify: node is missing: apt install nodejs npm\n"
        "bench: --without NAMES leaves systems out\n"
    )
    done = run_command(*run, "--without", "fastify", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "| wsgi-empty |" in done.stdout
    assert "| fastify |" not in done.stdout


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
    liar = replace(TASKAPI, program=Path(sys.executable), arguments=lambda *_: arguments)
    system = bench.make_system(liar, name=f"{lie}-{request_name}", LIE=lie)
    with bench.targets([system]) as [target], pytest.raises(BenchError, match=finding):
        target.measure(REQUESTS[request_name], 8, 1)


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_gives_the_right_answers(bench: Bench, name: str) -> None:
    """Each kind of request some forty times, checked as in a measurement."""
    with bench.targets([bench.make_system(KINDS[name])]) as [target]:
        for request in REQUESTS.values():
            # Argon2 takes its time.
            few = 4 if request.name == "login" else 40
            measured = target.measure(request, 4, 60, stop_after=few)
            assert measured.right >= few
            # A busy machine makes taskapi refuse some, which measure() knows it may.
            assert not measured.refused or name == "taskapi"

        token = {"Authorization": f"Bearer {target.token(READER)}"}
        path = ONE.rpartition("/")[0]
        with httpx.Client(base_url=target.system.url, timeout=60, trust_env=False) as client:
            assert client.get(ONE).status_code == 401
            assert client.get(ONE, headers={"Authorization": "Bearer x.y.z"}).status_code == 401
            assert target.get(ONE, READER).status_code == 200
            assert target.get(ONE, WRITER).status_code == 403
            for id in (user_id(READER), task_id(1001)):
                assert target.get(f"{path}/{id}", READER).status_code == 404
            for body in ({"title": "x" * 501}, {"title": " "}, {}):
                assert client.put(ONE, json=body, headers=token).status_code == 422
                assert client.post(path, json=body, headers=token).status_code == 422
            kept = bench.dataset.describe([task_id(1)])[task_id(1)]
            changed = client.put(ONE, json={"title": " new "}, headers=token)
            assert changed.json() == kept | {
                "title": "new",
                "updated_at": changed.json()["updated_at"],
            }
