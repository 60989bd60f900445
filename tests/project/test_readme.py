"""The README's tour, run as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess

from tests.support.checks import assert_task
from tests.support.fixtures import MakeDatabase, MakeService
from tests.support.service import PATIENCE, ROOT, migrate

README = (ROOT / "README.md").read_text()


def test_the_tour_does_what_it_says(make_service: MakeService, make_database: MakeDatabase) -> None:
    """And what it made survives a restart."""
    [tour] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    url = make_database()
    migrate(url)
    service = make_service(DATABASE_URL=url)
    for statuses in ((201, 204), (409, 204)):
        service.start()
        done = subprocess.run(
            ["bash", "-eu", "-c", tour],
            env=os.environ | {"API": service.url},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert done.stderr == ""
        service.stop()
        signup, *rest = done.stdout.splitlines()
        if statuses[0] == 201:
            assert set(json.loads(signup)) == {"user_id", "email"}
        else:
            assert json.loads(signup) == {"detail": "Email already registered"}
        created, listed, read, changed, toggled, completed = map(json.loads, rest[:6])
        assert_task(created)
        assert (listed, read) == ([created], created)
        assert (changed["title"], changed["description"]) == ("Buy oat milk", "two litres")
        assert (toggled["completed"], completed["completed"]) == (True, True)
        assert rest[6] == "204"
        assert json.loads(rest[7]) == {"detail": "Task not found"}
        assert rest[8] == "Idempotency-Replayed: true"
        bread, patched, refused = map(json.loads, rest[9:12])
        assert bread["title"] == "Buy bread"
        assert patched == bread | {"completed": True, "updated_at": patched["updated_at"]}
        assert refused == {"detail": "The task has changed since"}
        assert re.fullmatch(
            r'Link: <.*\?q=BUY&sort=created_at&limit=1&cursor=.*>; rel="next"', rest[12]
        )
        assert json.loads(rest[13]) == [patched]
        assert len(rest) == 14


def test_each_proof_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    proofs = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(proofs) > 10
    for file, name in proofs:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), name


def test_the_configuration_table_names_every_variable() -> None:
    example = (ROOT / ".env.example").read_text()
    section = README.partition("## Configuration")[2].partition("## ")[0]
    for name, default in re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE):
        assert name in section
        if name not in ("DATABASE_URL", "JWT_SECRET"):
            assert default in section
