"""The code, .env.example and docs/configuration.md have the same variables, defaults and values."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from taskapi.config import ConfigError, load_config
from tests.support.service import ROOT, SECRET

ROWS = re.findall(
    r"^\| ([A-Z_]+) \| (.*?) \| (.*?) \|",
    (ROOT / "docs" / "configuration.md").read_text(),
    re.MULTILINE,
)
TABLE = {name: default for name, default, _ in ROWS}
VALUES = {name: values for name, _, values in ROWS}
# Their examples stand for what an operator must give.
REQUIRED = {"DATABASE_URL", "JWT_SECRET"}


def read_code() -> dict[str, str]:
    """Return the variables that config.py reads, with their defaults."""
    tree = ast.parse((ROOT / "taskapi" / "config.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    variables: dict[str, Any] = {"DATABASE_URL": ""}
    for call in calls:
        function = call.func
        if isinstance(function, ast.Name) and function.id.startswith("_") and len(call.args) > 1:
            name, *rest = [arg.value for arg in call.args[1:] if isinstance(arg, ast.Constant)]
            if isinstance(name, str) and name.isupper():
                variables[name] = rest[0] if rest else ""
    return {name: str(default) for name, default in variables.items()}


def is_accepted(name: str, value: str | int) -> bool:
    """Tell whether the program starts with this value."""
    required = {"DATABASE_URL": "postgresql://", "JWT_SECRET": SECRET}
    # So that neither refuses a value of the other.
    pool = {"DB_POOL_MIN": "0", "DB_POOL_MAX": "10000"}
    try:
        load_config({**required, **pool, name: str(value)})
    except ConfigError as error:
        message = str(error)
    else:
        return True
    assert name in message
    return False


def test_the_example_has_every_variable_and_default() -> None:
    example = re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    code = read_code()
    assert len(code) > 20
    assert len(ROWS) == len(TABLE)
    assert [name for name, _ in example] == list(TABLE)
    assert {name: value for name, value in example if name not in REQUIRED} == {
        name: value for name, value in code.items() if name not in REQUIRED
    }


def test_the_page_has_every_variable_and_default() -> None:
    code = read_code()
    shown = {name: "" if default == "none" else default for name, default in TABLE.items()}
    assert shown == code


@pytest.mark.parametrize("name", VALUES)
def test_the_page_says_which_values_are_accepted(name: str) -> None:
    """Ranges, lists of words, and numbers above 0; the others are described."""
    values = VALUES[name]
    assert values
    if found := re.match(r"([0-9,]+) to ([0-9,]+)", values):
        low, high = (int(bound.replace(",", "")) for bound in found.groups())
        assert is_accepted(name, low)
        assert is_accepted(name, high)
        assert not is_accepted(name, low - 1)
        assert not is_accepted(name, high + 1)
    elif words := re.findall(r"`(\w+)`", values):
        assert all(is_accepted(name, word) for word in words)
        assert not is_accepted(name, "another")
    elif values == "above 0":
        assert is_accepted(name, "0.001")
        assert not is_accepted(name, 0)
