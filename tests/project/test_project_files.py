"""The files that describe the project agree with each other."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from taskapi.version import VERSION
from tests.support.service import ROOT

PINS = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[a-z, ]+\])?==([^\s;\\]+)", re.MULTILINE)


def read_pins(name: str) -> dict[str, str]:
    """Return the pinned version of each package in a file of requirements."""
    pins = PINS.findall((ROOT / name).read_text())
    return {canonicalize_name(package): version for package, version in pins}


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


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "bench/requirements"])
def test_the_compiled_requirements_are_those_that_were_asked_for(name: str) -> None:
    """If not: `make lock`."""
    asked, compiled = read_pins(f"{name}.in"), read_pins(f"{name}.txt")
    assert asked
    assert asked.items() <= compiled.items()
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    assert all(PINS.match(line) or not line or line.startswith(("#", "-r ")) for line in lines)


def test_development_uses_the_services_versions() -> None:
    assert read_pins("requirements.txt").items() <= read_pins("requirements-dev.txt").items()


def test_an_extra_that_a_package_needs_is_in_its_pin() -> None:
    """Otherwise `pip install --require-hashes` refuses what the extra adds."""
    lines = re.findall(
        r"^([a-z].*?) \\$", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}
    for pin in pins.values():
        if pin.marker and not pin.marker.evaluate():
            continue
        for needed in map(Requirement, importlib.metadata.requires(pin.name) or []):
            extras = ["", *pin.extras]
            if needed.marker and not any(needed.marker.evaluate({"extra": e}) for e in extras):
                continue
            assert needed.extras <= pins[canonicalize_name(needed.name)].extras, (pin, needed)


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "bench/requirements.txt"]
)
def test_each_requirement_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert "--index" not in text


def test_no_target_names_a_folder_of_tests_beside_its_parent() -> None:
    """The parent alone is collected then, and with it not the folders that norecursedirs names."""
    recipes = re.findall(r"^\t.*\$\(PYTEST\)(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipes
    for recipe in recipes:
        paths = [word for word in recipe.split() if word.startswith("tests")]
        assert not any(one.startswith(f"{other}/") for one in paths for other in paths)


def test_a_commit_is_checked_by_the_linters_of_make_lint() -> None:
    recipes = (ROOT / "Makefile").read_text().partition("\nlint: ")[2].partition("\nexplain: ")[0]
    linters = re.findall(r"(?:\$\(PY\) -m |\.venv/bin/)(ruff \w+|\w+)", recipes)
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["name"]: hook for hook in repository["hooks"]}
    assert set(hooks) == set(linters)
    [folders] = re.findall(r"sqlfluff lint [-a-z ]*-bar (.*)", recipes)
    assert all(re.match(hooks["sqlfluff"]["files"], f"{name}/x.sql") for name in folders.split())
