"""Three PostgreSQL nodes with Patroni and etcd, and HAProxy: from the files in deploy/patroni."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import psycopg
from embedded_postgres import die_with_parent

from tests.support.service import NO_AUTHORITIES, PATIENCE, ROOT, environment, free_port, wait_until

FOLDER = ROOT / "deploy/patroni"
# Debian keeps haproxy where an ordinary user's PATH doesn't look.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
# Debian has a folder for each major version.
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))
# Seconds, in place of the shipped ones. Patroni allows no shorter ttl.
TIMES = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
PASSWORD = "a-password-of-the-tests"
PORTS = (5432, 8008, 2379, 2380, 5000)
NOBODY = 65534


class Node:
    """A machine: PostgreSQL, Patroni and a member of etcd, at an address of the loopback."""

    def __init__(self, number: int, parent: Path) -> None:
        self.number = number
        self.name = f"db{number}"
        self.address = f"127.0.0.1{number}"
        self.folder = parent / self.name
        self.etcd: subprocess.Popen[bytes] | None = None
        self.patroni: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it as a machine does when power is back."""
        self.start_etcd()
        self.patroni = run_as_nobody(
            self.folder, "patroni", "patroni.yml", **read_variables(self.folder / "patroni.env")
        )

    def start_etcd(self) -> None:
        variables = read_variables(self.folder / "etcd.env")
        self.etcd = run_as_nobody(self.folder, "etcd", **variables)

    def kill_etcd(self) -> None:
        kill(self.etcd)

    def kill(self) -> None:
        """End all of it as a power failure does."""
        self.kill_etcd()
        kill(self.patroni)
        self._end_postgres(signal.SIGKILL)

    def close(self) -> None:
        """End all of it. Killed, PostgreSQL would leave shared memory behind."""
        kill(self.patroni)
        self._end_postgres(signal.SIGQUIT)
        kill(self.etcd)

    def stop_sending(self) -> None:
        """Let the standbys get nothing any more, as when the network fails first."""
        for process in self._postgres():
            with suppress(psutil.NoSuchProcess):
                if "walsender" in " ".join(process.cmdline()):
                    process.suspend()

    def _postgres(self) -> list[psutil.Process]:
        """Return the server's processes, the first one first; none if it doesn't run."""
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            data = self.folder / "data"
            postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
            # After a crash the pid may be another program's.
            if str(data) in postmaster.cmdline():
                return [postmaster, *postmaster.children(recursive=True)]
        return []

    def _end_postgres(self, how: signal.Signals) -> None:
        """Send the signal to the server's first process; if it kills, to all others too."""
        processes = self._postgres()
        for process in processes if how == signal.SIGKILL else processes[:1]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        wait_until("the end of PostgreSQL", lambda: not any(map(is_alive, processes)))


class Cluster:
    """The nodes, and HAProxy as on an application server. `with` starts and ends everything."""

    def __init__(self) -> None:
        # In memory if possible: etcd waits for its disk, and that of a busy machine is slow.
        memory = Path("/dev/shm")  # noqa: S108
        parent = memory if os.access(memory, os.W_OK | os.X_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="taskapi-patroni-", dir=parent))
        self.ports = {port: free_port() for port in PORTS}
        self.nodes = [Node(number, self.folder) for number in (1, 2, 3)]
        self.haproxy: subprocess.Popen[bytes] | None = None
        give_to_nobody(self.folder)
        self._write_files()

    def url(self, role: str, database: str = "taskapi") -> str:
        """Return the DATABASE_URL of deploy/patroni/haproxy.cfg, for a role."""
        host = f"127.0.0.1:{self.ports[5000]}"
        return f"postgresql://{role}:{PASSWORD}@{host}/{database}?target_session_attrs=read-write"

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self.haproxy = run_as_nobody(self.folder, "haproxy", "-db", "-f", "haproxy.cfg")
            self.wait_until_whole()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        kill(self.haproxy)
        for node in self.nodes:
            node.close()
        shutil.rmtree(self.folder)

    def ask(self, node: Node, path: str) -> dict[str, Any]:
        """Return what a node's Patroni says; nothing if it doesn't answer."""
        with suppress(httpx.TransportError):
            answer: dict[str, Any] = httpx.get(
                self._rest(node) + path, timeout=10, verify=NO_AUTHORITIES
            ).json()
            return answer
        return {}

    def primary(self) -> Node:
        """Return the node that says it is primary, after waiting for exactly one."""
        found: list[Node] = []

        def is_found() -> bool:
            found[:] = [
                node
                for node in self.nodes
                if self.ask(node, "/patroni").get("role") in ("master", "primary")
            ]
            return len(found) == 1

        wait_until("one primary", is_found)
        return found[0]

    def synchronous_standby(self) -> Node:
        """Return the node that commits wait for, after waiting for one."""
        found: list[str] = []

        def is_found() -> bool:
            members = self.ask(self.primary(), "/cluster").get("members", [])
            found[:] = [member["name"] for member in members if member["role"] == "sync_standby"]
            return len(found) == 1

        wait_until("a synchronous standby", is_found)
        [node] = [node for node in self.nodes if node.name == found[0]]
        return node

    def switch_over(self) -> None:
        """Order the synchronous standby to take over, and wait until it has."""
        primary, standby = self.primary(), self.synchronous_standby()
        response = httpx.post(
            self._rest(primary) + "/switchover",
            json={"leader": primary.name, "candidate": standby.name},
            auth=("patroni", PASSWORD),
            timeout=PATIENCE,
            verify=NO_AUTHORITIES,
        )
        assert response.status_code == 200, response.text

    def wait_until_whole(self) -> None:
        """Wait for a primary, the standby that commits wait for, another one, and a connection."""
        try:
            wait_until("three nodes", self._is_whole, 3 * PATIENCE)
        except TimeoutError as error:
            error.add_note(self.logs())
            raise

    def logs(self) -> str:
        """Return the ends of all programs' logs."""
        files = sorted(self.folder.rglob("*.log"))
        return "".join(f"== {file}\n{file.read_text(errors='replace')[-3000:]}\n" for file in files)

    def _rest(self, node: Node) -> str:
        return f"http://{node.address}:{self.ports[8008]}"

    def _is_whole(self) -> bool:
        for node in self.nodes:
            for process in (node.etcd, node.patroni):
                assert process is not None
                assert process.poll() is None, self.logs()
        members = self.ask(self.nodes[0], "/cluster").get("members", [])
        return (
            sorted(member["role"] for member in members) == ["leader", "replica", "sync_standby"]
            and {member["state"] for member in members} <= {"running", "streaming"}
            and len({member["timeline"] for member in members}) == 1
            and self._accepts_writes()
        )

    def _accepts_writes(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2).close()
            return True
        return False

    def _write_files(self) -> None:
        (self.folder / "haproxy.cfg").write_text(
            self._fill(
                "haproxy.cfg",
                (r"log /dev/log local0", "log stderr format raw local0"),
                (r"^    (user|group) haproxy\n", ""),
            )
        )
        for node in self.nodes:
            node.folder.mkdir()
            give_to_nobody(node.folder)
            own = (r"\bdb1\b", node.name), (r"10\.0\.0\.11\b", f"10.0.0.1{node.number}")
            files = {
                "patroni.yml": self._fill(
                    "patroni.yml",
                    *((rf"\b{name}: \d+$", f"{name}: {value}") for name, value in TIMES.items()),
                    (r"/var/lib/postgresql/15/taskapi", f"{node.folder}/data"),
                    (r"/usr/lib/postgresql/15/bin", str(BINARIES)),
                    (r"/var/lib/postgresql/", f"{node.folder}/"),
                    (r"/var/run/postgresql", str(node.folder)),
                ),
                "patroni.env": self._fill("patroni.env", (r"change-me-\d", PASSWORD), own=own),
                "etcd.env": self._fill(
                    "etcd.env", (r"/var/lib/etcd/taskapi", f"{node.folder}/etcd"), own=own
                ),
            }
            for name, text in files.items():
                (node.folder / name).write_text(text)
                give_to_nobody(node.folder / name)

    def _fill(
        self,
        name: str,
        *replacements: tuple[str, str],
        own: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Return a shipped file with this machine's addresses, ports and paths.

        `own` is replaced in what a node has of its own, which is at the end of the file.
        """
        text = (FOLDER / name).read_text()
        text, mark, tail = text.partition("# This node's.\n")
        assert bool(mark) == bool(own), name
        text, tail = substitute(text, replacements, name), substitute(tail, own, name)
        text = (
            (text + mark + tail).replace("10.0.0.1", "127.0.0.1").replace("10.0.0.0", "127.0.0.0")
        )
        ports = "|".join(map(str, PORTS))
        return re.sub(rf"\b({ports})\b", lambda found: str(self.ports[int(found[1])]), text)


def substitute(text: str, replacements: Sequence[tuple[str, str]], name: str) -> str:
    """Replace each pattern, all of which must be there."""
    for pattern, replacement in replacements:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, f"deploy/patroni/{name} has no {pattern}"
    return text


def read_variables(file: Path) -> Mapping[str, str]:
    """Return the variables of a file as systemd's EnvironmentFile has it."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def run_as_nobody(
    folder: Path, program: str, *args: str, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a program in a folder, whose log gets its words; not as root."""
    found = shutil.which(program, path=PATH)
    assert found, f"{program} is not installed: make test-ha needs what .ci/run names"
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with (folder / f"{program}.log").open("ab") as log:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*die_with_parent("KILL"), found, *args],
            cwd=folder,
            env=environment(HOME=str(folder), **variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **user,  # type: ignore[call-overload]
        )
    return process


def kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.kill()
        process.wait(PATIENCE)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether it runs: in a container, nobody may fetch the exit code of an orphan."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def give_to_nobody(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
