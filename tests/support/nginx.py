"""nginx with deploy/nginx.conf, in front of services of the tests."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import httpx
import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.service import PATIENCE, ROOT, free_port, wait_until

# Debian keeps it where an ordinary user's PATH doesn't look.
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"


class Nginx:
    """An nginx with the very file in deploy/, but for its addresses, ports, paths and certificate.

    It runs in a temporary folder, as an ordinary child of this process. `with` starts and ends it.
    It listens on all loopback addresses, so that a client may come from 127.0.0.2, which is none
    that may see /ready.
    """

    def __init__(self, ports: Sequence[int], *, limits: bool = True) -> None:
        """Make one in front of the services on these ports of 127.0.0.1.

        Without `limits` one client may send as much as a load test does.
        """
        self.upstreams = list(ports)
        self.limits = limits
        self.port, self.plain_port, self.inner_port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._temporary = tempfile.TemporaryDirectory(prefix="taskapi-nginx-")
        self.folder = Path(self._temporary.name)
        self.access_log = self.folder / "access.log"
        self.error_log = self.folder / "error.log"
        self.certificate = self.folder / "fullchain.pem"
        self.process: subprocess.Popen[bytes] | None = None
        make_certificate(self.certificate, self.folder / "privkey.pem")
        (self.folder / "nginx.conf").write_text(self.configuration())

    def configuration(self) -> str:
        """Return the file with this machine's addresses, ports and paths."""
        text = (ROOT / "deploy/nginx.conf").read_text()
        # The folder is closed to other users.
        temporary = "".join(
            f"\n    {kind}_temp_path {self.folder / kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        servers = "".join(f"server 127.0.0.1:{port} max_fails=0;\n" for port in self.upstreams)
        unlimited = (
            (r"\b200r/s;", "100000r/s;"),
            (r"\blimit_conn requests 100;", "limit_conn requests 8000;"),
        )
        for pattern, replacement in (
            *(() if self.limits else unlimited),
            (r"^user www-data;\n", "user root;\n" if os.geteuid() == 0 else ""),
            (r"^http \{", "http {" + temporary),
            (r"(?: *server 127\.0\.0\.1:800\d max_fails=0;\n)+", servers),
            (r"/run/nginx\.pid", f"{self.folder}/nginx.pid"),
            (r"/var/log/nginx/", f"{self.folder}/"),
            (r"/etc/nginx/tls/", f"{self.folder}/"),
            (r"\b8099\b", str(self.inner_port)),
            (r"listen 80;", f"listen {self.plain_port};"),
            (r"listen 443 ", f"listen {self.port} "),
            (r"^ *listen \[::\].*\n", ""),
        ):
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            assert count, f"deploy/nginx.conf has no {pattern}"
        return text

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it and wait until it listens. Raises AssertionError with its words if it can't."""
        with (self.folder / "stderr.log").open("wb") as stderr:
            self.process = subprocess.Popen(
                [PROGRAM, "-p", self.folder, "-c", self.folder / "nginx.conf", "-g", "daemon off;"],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        wait_until("nginx to answer", self.answers)

    def answers(self) -> bool:
        """Tell whether it serves."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "stderr.log").read_text()
        try:
            httpx.get(f"http://127.0.0.1:{self.plain_port}/", timeout=PATIENCE)
        except httpx.TransportError:
            return False
        return True

    def temporary_files(self) -> list[str]:
        """Return the files that it has open in its temporary folders. It removes their names."""
        assert self.process is not None
        targets = [
            str(link.readlink())
            for worker in psutil.Process(self.process.pid).children()
            for link in Path(f"/proc/{worker.pid}/fd").iterdir()
        ]
        return [target for target in targets if target.startswith(f"{self.folder}/proxy/")]

    def close(self) -> None:
        """End it, its requests first, and remove its folder."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self._temporary.cleanup()

    def tls(self) -> ssl.SSLContext:
        """Return what a client needs to trust it."""
        return ssl.create_default_context(cafile=self.certificate)

    def client(self, source: str = "127.0.0.1") -> httpx.Client:
        """Return a client that comes from this address of the loopback interface."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        transport = httpx.HTTPTransport(verify=self.tls(), local_address=source, limits=limits)
        return httpx.Client(base_url=self.url, transport=transport, timeout=PATIENCE)


def make_certificate(certificate: Path, key: Path) -> None:
    """Make a certificate for 127.0.0.1 and tasks.example.com that has signed itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tasks.example.com")])
    now = datetime.now(UTC)
    alternatives = [
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.DNSName("tasks.example.com"),
    ]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
