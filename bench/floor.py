"""The floor: what PostgreSQL does of the same statements by itself, driven by pgbench."""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from dataset import CREATOR, FIRST_OF_20, READER, WRITER, Dataset, user_id
from embedded_postgres import find_programs
from load import Request
from psycopg.conninfo import make_conninfo
from rounds import OVERHEAD, Bench, Options, Row
from systems import JWT_SECRET, BenchError, cpu_seconds

from taskapi.database.identity import Signer, derive_key
from taskapi.database.statements import STATEMENTS

# For each request its file in sql/ and whose it is, with the numbers of that user's tasks.
_FILES = {
    "read": ("get_task", READER),
    "list": ("list_tasks", FIRST_OF_20),
    "list_1000": ("list_tasks", READER),
    "create": ("create_task", CREATOR),
    "put": ("update_task", WRITER),
    "toggle": ("complete_task", WRITER),
}
_TITLE = "floor 1 call the supplier in Orléans about the next delivery"
_DESCRIPTION = _TITLE + ", ask for the new price list, and who promised what by when"
# What taskapi's queries pass for such a request. pgbench has no variables for None and for nothing:
# they are written into the statements.
# Seconds. pgbench signs nothing: one signature is for all of a measurement.
_LONGEST = 3600
_PARAMETERS: dict[str, str | None] = {
    "role": "taskapi_user",
    "email": "",
    "statement_timeout": "5000ms",
    "issued_at": "0",
    "max_tasks": "100000",
    "limit": "1000",
    "candidates": "1001",
    "max_bytes": str(2**21),
    "after_created_at": "infinity",
    "after_id": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "q": None,
    "keep_title": "false",
    "versions": None,
}


def measure_floor(bench: Bench) -> Row:
    """Measure the statements of each request at each number of clients, in turn."""
    options = bench.options
    rows: list[Row] = []
    chosen = [request for request in options.requests if request.name in _FILES]
    for request in chosen:
        check_script(request, bench.dataset)
    for connections in options.connections:
        rounds: dict[str, list[Row]] = {request.name: [] for request in chosen}
        for turn in range(options.rounds):
            for request in chosen:
                what = f"pgbench: {request.title}, {connections} clients, round {turn + 1}"
                with bench.step(what, options.seconds + OVERHEAD):
                    rounds[request.name].append(
                        run_pgbench(
                            request,
                            bench.dataset,
                            bench.postgres.pid,
                            connections,
                            options.seconds,
                        )
                    )
        rows += [
            {"request": name, "connections": connections, "rounds": measured}
            for name, measured in rounds.items()
        ]
    return {"rows": rows}


def estimate_floor(options: Options) -> float:
    """Return about how many seconds measure_floor takes."""
    chosen = [request for request in options.requests if request.name in _FILES]
    turns = len(chosen) * len(options.connections) * options.rounds
    return turns * (options.seconds + OVERHEAD)


def write_script(request: Request) -> tuple[str, dict[str, str]]:
    """Return what pgbench runs for a request, made from sql/, and the variables in it."""
    file, user = _FILES[request.name]
    signed = Signer([derive_key(JWT_SECRET)], _LONGEST).sign("taskapi_user", user_id(user))
    parameters = {**_PARAMETERS, "user_id": user_id(user), **signed}
    # A task is toggled without a body, and listed without a filter.
    unset = ["completed", "due_from", "due_to", "label", "priority_from", "priority_to"]
    parameters |= dict.fromkeys(unset)
    task = {"title": _TITLE, "description": _DESCRIPTION}
    parameters["changes"] = json.dumps(task)
    parameters["members"] = json.dumps({**task, "completed": False, "priority": 0, "labels": []})
    used: dict[str, str] = {}

    def substitute(found: re.Match[str]) -> str:
        name = found[1]
        if name == "id":
            # As fill.sql makes it.
            return "md5('task ' || :number)::uuid"
        if name not in parameters:
            raise BenchError(f"sql/{file}.sql has a parameter that bench/floor.py lacks: {name}")
        value = parameters[name]
        if not value:
            return "NULL" if value is None else "''"
        used[name] = value
        return f":{name}"

    statements = []
    for name in ("act_as", file):
        text = re.sub(r"^ *--.*\n", "", STATEMENTS[name].decode(), flags=re.MULTILINE)
        statements.append(re.sub(r"%\((\w+)\)s", substitute, text))
    first = 1 if user == READER else 1001
    number = f"\\set number random({first}, {first + 999})\n"
    return f"{number}\\startpipeline\n{''.join(statements)}\\endpipeline\n", used


def check_script(request: Request, dataset: Dataset) -> None:
    """Run a request's statements once. Raises BenchError if they don't find or write its tasks."""
    script, variables = write_script(request)
    variables["number"] = "1" if _FILES[request.name][1] == READER else "1001"
    statements = re.sub(r"^\\.*\n", "", script, flags=re.MULTILINE)
    literal = re.sub(r"(?<!:):([a-z_]+)", lambda found: f"'{variables[found[1]]}'", statements)
    rows = dataset.count_rows(literal)
    if rows != request.tasks:
        raise BenchError(f"the statements of {request.title} have {rows} rows in pgbench")
    dataset.remove_created([user_id(CREATOR)], "floor ")


def run_pgbench(
    request: Request, dataset: Dataset, postgres_pid: int, clients: int, seconds: int
) -> Row:
    """Run a request's statements for some seconds, prepared, each time in one pipeline.

    Latencies are in milliseconds, processor time in seconds for 1,000. Raises BenchError.
    """
    script, variables = write_script(request)
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as name:
        folder = Path(name)
        (folder / "script.sql").write_text(script)
        defines = [word for item in variables.items() for word in ("-D", "=".join(item))]
        before, own = cpu_seconds(postgres_pid), _children_seconds()
        done = subprocess.run(
            [
                *(str(find_programs() / "pgbench"), "--no-vacuum", "--protocol=prepared"),
                *(f"--client={clients}", "--jobs=1", f"--time={seconds}", "--log"),
                *(f"--log-prefix={folder / 'log'}", f"--file={folder / 'script.sql'}"),
                *(*defines, make_conninfo(dataset.url)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        used, own = cpu_seconds(postgres_pid) - before, _children_seconds() - own
        if done.returncode != 0:
            raise BenchError(f"pgbench, {request.title}: {done.stderr.strip().splitlines()[-1]}")
        [log] = folder.glob("log*")
        times = [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
    rate = re.search(r"^tps = ([0-9.]+)", done.stdout, flags=re.MULTILINE)
    assert rate is not None, done.stdout
    if request.name == "create":
        dataset.remove_created([user_id(CREATOR)], "floor ")
    dataset.tidy()
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "requests_per_second": float(rate[1]),
        **{f"p{percent}": cuts[percent - 1] for percent in (50, 95, 99)},
        "max": max(times),
        "right": len(times),
        "postgres_cpu": used / len(times) * 1000,
        "pgbench_cpu": own / len(times) * 1000,
    }


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
