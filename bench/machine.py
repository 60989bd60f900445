"""What a run was made on, and with which versions."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
from embedded_postgres import find_programs
from systems import NODE, NODE_PACKAGES, PEERS_PYTHON

OURS = ("Flask", "gunicorn", "psycopg", "PyJWT", "orjson", "marshmallow")
PEERS = ("starlette", "fastapi", "sqlmodel", "asyncpg", "uvicorn", "Django", "djangorestframework")
NODE_PEERS = ("fastify", "pg")
_ASK = "import sys, json; from importlib.metadata import version; "
_ASK += "print(json.dumps([version(name) for name in sys.argv[1:]]))"


def describe_machine() -> dict[str, str | int]:
    """Return the processor, cores, memory and kernel."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of what is measured and what measures."""
    versions = {"Python": platform.python_version()}
    versions["PostgreSQL"] = _version_of(find_programs() / "postgres")
    versions |= {name: metadata.version(name) for name in OURS}
    if PEERS_PYTHON.exists():
        asked = subprocess.run(
            [PEERS_PYTHON, "-c", _ASK, *PEERS], capture_output=True, text=True, check=True
        )
        versions |= dict(zip(PEERS, json.loads(asked.stdout), strict=True))
    if NODE.exists() and NODE_PACKAGES.exists():
        versions |= {"Node": _version_of(NODE)}
        for name in NODE_PEERS:
            described = json.loads((NODE_PACKAGES / name / "package.json").read_text())
            versions[name] = described["version"]
    return versions | {"wrk": _version_of("wrk")}


def _version_of(program: Path | str) -> str:
    # wrk tells its version with an exit status that means an error.
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d[\d.]*", told.stdout)
    return found[0] if found else "unknown"
