"""The fuzzer: schemathesis, with all its checks, against gunicorn and a real PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.support.accounts import Account
from tests.support.service import ROOT, Service, environment

FOLDER = ROOT / "tests" / "fuzz"

# What gunicorn logs of a worker that ended while it should serve.
WORKER_ENDED = re.compile(r"WORKER TIMEOUT|was sent SIG|Worker exiting|exited with code")


class Result(NamedTuple):
    """What a run has sent, found and printed."""

    requests: Counter[str]
    faults: str
    output: str


def fuzz(database_url: str, folder: Path, *, max_examples: int) -> Result:
    """Run the fuzzer against a service of its own."""
    log, requests = folder / "gunicorn.log", folder / "requests"
    service = Service(log, {"DATABASE_URL": database_url, "TRUSTED_PROXIES": "1"})
    service.start()
    try:
        with service.client() as client:
            user = Account.sign_up(client)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(FOLDER / "schemathesis.toml")),
                *("run", f"{service.url}/openapi.json"),
                *("--max-examples", str(max_examples)),
            ],
            cwd=ROOT,
            env=environment(
                SCHEMATHESIS_HOOKS="tests.fuzz.hooks",
                FUZZ_TOKEN=user.token,
                FUZZ_USER_ID=user.id,
                FUZZ_REQUESTS=str(requests),
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        logged = log.read_text()
        faults = [] if done.returncode == 0 else [f"schemathesis ended with {done.returncode}"]
        faults += [f"the log: {match}" for match in WORKER_ENDED.findall(logged)]
        faults += ["the log has a traceback"] if '"exception":' in logged else []
    finally:
        service.stop()
    return Result(
        Counter(requests.read_text().splitlines()), ", ".join(faults), done.stdout + done.stderr
    )
