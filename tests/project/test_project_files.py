"""The files that describe the project agree with each other."""

from __future__ import annotations

import re
import tomllib

import pytest

from taskapi.version import VERSION
from tests.support.service import ROOT

PINS = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([^\s;\\]+)", re.MULTILINE)


def read_pins(name: str) -> dict[str, str]:
    """Return the pinned version of each package in a file of requirements."""
    pins = PINS.findall((ROOT / name).read_text())
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in pins}


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "taskapi.version.VERSION"
    }
    [latest, *_] = re.findall(
        r"^## ([0-9.]+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert latest == VERSION


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_compiled_requirements_are_those_that_were_asked_for(name: str) -> None:
    """If not: `make lock`."""
    asked, compiled = read_pins(f"{name}.in"), read_pins(f"{name}.txt")
    assert asked
    assert asked.items() <= compiled.items()
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    assert all(PINS.match(line) or not line or line.startswith(("#", "-r ")) for line in lines)


def test_development_uses_the_services_versions() -> None:
    assert read_pins("requirements.txt").items() <= read_pins("requirements-dev.txt").items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_requirement_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert "--index" not in text
