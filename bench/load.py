"""The load: wrk, one measurement of one system at a time, each answer checked."""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
from dataset import CREATOR, FIRST_OF_20, PASSWORD, READER, WRITER, Dataset, task_id, user_id
from systems import JWT_SECRET, BenchError, System, cpu_seconds

SCRIPT = Path(__file__).with_name("requests.lua")
TOKEN_LIFE = 86_400
# So many of the users who have 20 tasks log in.
LOGINS = 400
# Seconds that a system has for what it was asked when wrk hung up.
AFTERMATH = 0.3
_runs = count(1)


@dataclass(frozen=True)
class Request:
    """A kind of request, as options and results, tables, and requests.lua name it."""

    name: str
    title: str
    lua: str
    # How many are in the answer.
    tasks: int = 1


REQUESTS = {
    request.name: request
    for request in (
        Request("read", "read one", "read"),
        Request("list", "list of 20", "list", 20),
        Request("list_1000", "list of 1,000", "list", 1000),
        Request("create", "create", "create"),
        Request("put", "PUT", "put"),
        Request("toggle", "toggle", "toggle"),
        Request("login", "login", "login"),
    )
}
# Read one, list of 20, create and toggle in turn.
MIX = Request("mix", "mix", "mix")
# taskapi lets no more than 20 of one client try to log in at once, and keeps none waiting whose
# password it couldn't check in time. All else is asked by one user, whose requests get 429 while a
# statement of this user takes long, as on a machine that is busy with something else.
REFUSALS = {"login": {"429", "503"}}
USUAL_REFUSALS = {"429"}


@dataclass(frozen=True)
class Audience:
    """Which tasks are read, whose lists, who creates and who changes: by numbers of fill.sql."""

    tasks: Sequence[int] = range(1, 1001)
    listers: Sequence[int] = (FIRST_OF_20,)
    creators: Sequence[int] = (CREATOR,)
    writers: Sequence[int] = (WRITER,)


def spread_over(dataset: Dataset, users: int = 400) -> Audience:
    """Return an audience of random users out of all who have 20 tasks, with all their tasks.

    So many in each table, for what it costs to serve ever more users is another question.
    """
    others = range(FIRST_OF_20, dataset.users + 1)
    chosen = random.sample(others, min(users, len(others)))
    return Audience([n for user in chosen for n in dataset.tasks_of(user)], *[chosen] * 3)


@dataclass
class Measurement:
    """What one run of wrk showed.

    Latencies are in milliseconds. Processor time is in seconds for 1,000 answers; the share of the
    others is of all cores' time, what the hypervisor took included: a round with much is noisy.
    """

    requests_per_second: float
    p50: float
    p95: float
    p99: float
    max: float
    right: int
    refused: dict[str, int]
    errors: int
    bytes_per_answer: float
    workers_cpu: float
    postgres_cpu: float
    wrk_cpu: float
    others_share: float


class Target:
    """A running system, what it is asked for, and what it has to answer."""

    def __init__(
        self,
        system: System,
        dataset: Dataset,
        postgres_pid: int,
        folder: Path,
        audience: Audience,
    ) -> None:
        self.system = system
        self.dataset = dataset
        self._postgres_pid = postgres_pid
        self._audience = audience
        self._folder = folder / f"{system.name}-{system.port}"
        self._folder.mkdir()
        self._tokens: dict[int, str] = {}
        self._client = httpx.Client(base_url=system.url, timeout=30, trust_env=False)

    def measure(
        self,
        request: Request,
        connections: int,
        seconds: int,
        *,
        stop_after: int = 0,
        checked: bool = True,
    ) -> Measurement:
        """Load the system for some seconds, or until it has given so many right answers.

        Raises BenchError if an answer was wrong, or if the database doesn't hold what was written.
        """
        run = f"bench{next(_runs)}"
        requests, answers = self._write_requests(request), self._write_answers(request)
        check = "none" if not checked else "constant" if self.system.kind.is_empty else "task"
        before = self._used()
        outcome = _run_wrk(
            *("--connections", str(connections), "--duration", f"{seconds}s", self.system.url),
            *("--", request.lua, check, run, str(requests), str(answers), str(stop_after)),
        )
        used = [after - start for after, start in zip(self._used(), before, strict=True)]
        if checked:
            self._judge(request, run, connections, outcome)
        elapsed = outcome["microseconds"] / 1e6
        answered = outcome["right"] if checked else outcome["requests"]
        refused = outcome["refused"] if checked else {}
        thousands = (answered + sum(refused.values())) / 1000
        workers, postgres, wrk, all_busy, all_time = used
        return Measurement(
            requests_per_second=answered / elapsed,
            **{name: outcome[name] / 1000 for name in ("p50", "p95", "p99", "max")},
            right=answered,
            refused=refused,
            errors=sum(outcome["errors"].values()),
            bytes_per_answer=outcome["bytes"] / outcome["requests"],
            workers_cpu=workers / thousands,
            postgres_cpu=postgres / thousands,
            wrk_cpu=wrk / thousands,
            others_share=(all_busy - workers - postgres - wrk) / all_time,
        )

    def token(self, user: int) -> str:
        """Return a token of the user's: from a login, for the few; else made here."""
        if user not in self._tokens:
            by_login = user <= CREATOR and not self.system.kind.is_empty
            self._tokens[user] = self._log_in(user) if by_login else make_token(user)
        return self._tokens[user]

    def get(self, path: str, user: int) -> httpx.Response:
        """GET a path as a user."""
        return self._client.get(path, headers={"Authorization": f"Bearer {self.token(user)}"})

    def close(self) -> None:
        """Close the connections of get()."""
        self._client.close()

    def _log_in(self, user: int) -> str:
        credentials = {"email": f"user{user}@example.com", "password": PASSWORD}
        answer = self._client.post("/api/auth/login", json=credentials)
        if answer.status_code != 200:
            raise BenchError(f"{self.system.name}: login: {answer.status_code} {answer.text}")
        token: str = answer.json()["token"]
        return token

    def _used(self) -> tuple[float, float, float, float, float]:
        """Return processor seconds: the system's, PostgreSQL's, wrk's, all that were used, all."""
        wrk = resource.getrusage(resource.RUSAGE_CHILDREN)
        times = psutil.cpu_times()
        # What guests of this machine use is in user and nice too.
        total = sum(times) - times.guest - times.guest_nice
        return (
            cpu_seconds(self.system.pid),
            cpu_seconds(self._postgres_pid),
            wrk.ru_utime + wrk.ru_stime,
            total - times.idle - times.iowait,
            total,
        )

    def _list_path(self, user: int) -> str:
        return f"/api/{user_id(user)}/tasks"

    def _task_path(self, number: int) -> str:
        return f"{self._list_path(self.dataset.owner(number))}/{task_id(number)}"

    def _listers(self, request: Request) -> Sequence[int]:
        return (READER,) if request.name == "list_1000" else self._audience.listers

    def _write_requests(self, request: Request) -> Path:
        rows: list[tuple[str, ...]] = []
        kinds = ("read", "list", "create", "toggle") if request is MIX else (request.lua,)
        for kind in kinds:
            match kind:
                case "read":
                    for number in self._audience.tasks:
                        token = self.token(self.dataset.owner(number))
                        rows.append((kind, self._task_path(number), token, task_id(number)))
                case "list":
                    listers = self._listers(request)
                    lists = self.dataset.lists([user_id(user) for user in listers])
                    for user in listers:
                        first = lists[user_id(user)][0]
                        rows.append((kind, self._list_path(user), self.token(user), first))
                case "create":
                    for user in self._audience.creators:
                        rows.append((kind, self._list_path(user), self.token(user)))
                case "put" | "toggle":
                    end = "/complete" if kind == "toggle" else ""
                    for user in self._audience.writers:
                        path, token = self._list_path(user), self.token(user)
                        for id, _, completed in self._list_states(user):
                            state = str(completed).lower()
                            rows.append((kind, f"{path}/{id}{end}", token, id, state))
                    # Not one user after the other: each clock lets one write at a time.
                    random.shuffle(rows)
                case "login":
                    for user in range(FIRST_OF_20, min(self.dataset.users, LOGINS) + 1):
                        email = f"user{user}@example.com"
                        rows.append((kind, "/api/auth/login", "", email, PASSWORD))
        return self._write(f"{request.name}.requests", rows)

    def _write_answers(self, request: Request) -> Path:
        """Fetch what reads have to answer, compare it with the database, and keep it."""
        path = self._folder / f"{request.name}.answers"
        if path.exists():
            return path
        rows: list[tuple[str, str]] = []
        if self.system.kind.is_empty:
            rows.append(("constant", self._client.get("/").text))
        else:
            if request.lua in ("read", "mix"):
                rows += self._fetch_tasks()
            if request.lua in ("list", "mix"):
                rows += self._fetch_lists(request)
        return self._write(path.name, rows)

    def _fetch_tasks(self) -> list[tuple[str, str]]:
        known = self.dataset.describe(map(task_id, self._audience.tasks))
        rows = []
        for number in self._audience.tasks:
            path, id = self._task_path(number), task_id(number)
            body = self._fetch(path, self.dataset.owner(number), known[id])
            rows.append((id, body))
        return rows

    def _fetch_lists(self, request: Request) -> list[tuple[str, str]]:
        listers = self._listers(request)
        rows = []
        for user_uuid, ids in self.dataset.lists([user_id(user) for user in listers]).items():
            [user] = [user for user in listers if user_id(user) == user_uuid]
            known = self.dataset.describe(ids)
            body = self._fetch(self._list_path(user), user, [known[id] for id in ids])
            rows.append((ids[0], body))
        return rows

    def _fetch(self, path: str, user: int, expected: Any) -> str:
        answer = self.get(path, user)
        if answer.status_code != 200 or not _agrees(answer.json(), expected):
            raise BenchError(
                f"{self.system.name}: GET {path} isn't what the database holds:"
                f" {answer.status_code} {answer.text[:300]}"
            )
        return answer.text

    def _list_states(self, user: int) -> list[Any]:
        return self.dataset.run("list_states", user_id=user_id(user))

    def _write(self, name: str, rows: Sequence[tuple[str, ...]]) -> Path:
        path = self._folder / name
        path.write_text("".join("\x1f".join(row) + "\x1e" for row in rows))
        return path

    def _judge(self, request: Request, run: str, connections: int, outcome: dict[str, Any]) -> None:
        """Raise BenchError unless all answers were right and the database holds what they said."""
        where = f"{self.system.name}, {request.title}, {connections} connections"
        answered = outcome["right"] + outcome["wrong"] + sum(outcome["refused"].values())
        # wrk asks the script for one request more at its start, and sends it to nobody.
        unanswered = outcome["sent"] - 1 - answered
        if outcome["wrong"]:
            raise BenchError(
                f"{where}: {outcome['wrong']} of {answered} answers were wrong, the first:"
                f" {outcome['reason']}"
            )
        if not set(outcome["refused"]) <= REFUSALS.get(request.name, USUAL_REFUSALS):
            raise BenchError(f"{where}: errors were answered, by status: {outcome['refused']}")
        if not outcome["right"]:
            raise BenchError(f"{where}: nothing was answered")
        if unanswered > connections + sum(outcome["errors"].values()):
            raise BenchError(f"{where}: {unanswered} requests were never answered")
        if self.system.kind.is_empty:
            return
        time.sleep(AFTERMATH)
        if request.lua in ("create", "mix"):
            creators = [user_id(user) for user in self._audience.creators]
            created = self.dataset.remove_created(creators, f"{run} ")
            if not outcome["created"] <= created <= outcome["created"] + unanswered:
                raise BenchError(
                    f"{where}: {outcome['created']} were told that a task was created,"
                    f" {unanswered} told nothing, and there are {created}"
                )
        if request.lua in ("put", "toggle", "mix"):
            differing = self._count_differing(run, outcome["states"])
            if differing > unanswered:
                raise BenchError(
                    f"{where}: {differing} tasks aren't what the last answer said;"
                    f" {unanswered} requests weren't answered"
                )
        if request.lua in ("create", "put", "toggle", "mix"):
            self.dataset.tidy()
        if request.lua == "login":
            jwt.decode(outcome["token"], JWT_SECRET, algorithms=["HS256"])

    def _count_differing(self, run: str, states: dict[str, Any]) -> int:
        """Count the writer's tasks that aren't as the last answer said."""
        differing = 0
        states_of_all = (row for user in self._audience.writers for row in self._list_states(user))
        for id, title, completed in states_of_all:
            said = states.get(id)
            if said == "unknown":  # toggled by two requests at once
                continue
            if said in ("true", "false"):
                differing += said != str(completed).lower()
            else:
                written = re.match(rf"{run} (\d+) ", title)
                differing += said != (written and int(written[1]))
        return differing


def _agrees(answer: Any, expected: Any) -> bool:
    """Tell whether an answer has what is expected; its tasks may have more members."""
    if isinstance(expected, list):
        pairs = zip(answer, expected, strict=False)
        return len(answer) == len(expected) and all(_agrees(*pair) for pair in pairs)
    return bool(answer | expected == answer)


def make_token(user: int) -> str:
    """Return a token for the user with this number."""
    now = int(time.time())
    email = f"user{user}@example.com"
    claims = {"sub": user_id(user), "email": email, "iat": now, "exp": now + TOKEN_LIFE}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


def _run_wrk(*arguments: str) -> dict[str, Any]:
    command = ["wrk", "--threads", "1", "--timeout", "10s", "--script", str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # After its own report for people
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    outcome: dict[str, Any] = json.loads(lines[-1])
    return outcome
