"""README.md and SECURITY.md say what is so."""

from __future__ import annotations

import json
import os
import re
import subprocess

from tests.support.checks import assert_task
from tests.support.fixtures import MakeService
from tests.support.service import PATIENCE, ROOT

README = (ROOT / "README.md").read_text()
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()


def test_the_tour_does_what_it_says(make_service: MakeService, own_url: str) -> None:
    """And the account survives a restart."""
    [tour] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    service = make_service(DATABASE_URL=own_url)
    for is_first in (True, False):
        service.start()
        done = subprocess.run(
            ["bash", "-eu", "-c", tour],
            env=os.environ | {"API": service.url},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        service.stop()
        assert done.stderr == ""
        signup, listed, patched, completed, deleted = done.stdout.splitlines()
        if is_first:
            assert set(json.loads(signup)) == {"user_id", "email"}
        else:
            assert json.loads(signup) == {"detail": "Email already registered"}
        [task] = json.loads(listed)
        assert_task(task)
        assert json.loads(patched)["description"] == "two litres"
        assert json.loads(completed)["completed"] is True
        assert deleted == "204"


def test_the_figures_are_those_of_the_performance_page() -> None:
    aims = PERFORMANCE.partition("<!-- aims -->")[2].partition("<!-- end of aims -->")[0]
    measured = dict(
        re.findall(
            r"\| (.*?) at 16 connections: throughput relative to fastapi \|.*?\| ([0-9.]+) ", aims
        )
    )
    quoted = re.findall(
        r"([0-9.]+) times the (creates|lists of [0-9,]+[0-9]|PUTs|reads|toggles)",
        " ".join(README.split()),
    )
    assert len(quoted) >= 3
    for figure, what in quoted:
        request = "read one" if what == "reads" else re.sub(r"s\b", "", what, count=1)
        assert measured[request] == figure, what


def test_each_proof_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    proofs = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(proofs) > 10
    for file, name in proofs:
        [path] = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in path.read_text(), name
