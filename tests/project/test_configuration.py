"""The code, .env.example and docs/configuration.md have the same variables and defaults."""

from __future__ import annotations

import ast
import re
from typing import Any

from tests.support.service import ROOT

TABLE = dict(
    re.findall(
        r"^\| ([A-Z_]+) \| (.*?) \|",
        (ROOT / "docs" / "configuration.md").read_text(),
        re.MULTILINE,
    )
)
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


def test_the_example_has_every_variable_and_default() -> None:
    example = re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    code = read_code()
    assert len(code) > 20
    assert [name for name, _ in example] == list(TABLE)
    assert {name: value for name, value in example if name not in REQUIRED} == {
        name: value for name, value in code.items() if name not in REQUIRED
    }


def test_the_page_has_every_variable_and_default() -> None:
    code = read_code()
    shown = {name: "" if default == "none" else default for name, default in TABLE.items()}
    assert shown == code
