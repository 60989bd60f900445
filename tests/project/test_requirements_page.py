"""docs/requirements.md lists every task of both lists, and names files and tests that exist."""

from __future__ import annotations

import re

from tests.support.service import ROOT

PAGE = (ROOT / "docs" / "requirements.md").read_text()
ROW = re.compile(r"^\| (T\d{3}) \| [^|]+ \| `([^`]+)` \| `(test_\w+)` \|$", re.MULTILINE)


def test_every_task_is_listed_once_and_in_order() -> None:
    _, first, second = re.split(r"^## .*$", PAGE, flags=re.MULTILINE)
    for section, count in ((first, 43), (second, 108)):
        numbers = [number for number, _, _ in ROW.findall(section)]
        assert numbers == [f"T{number:03}" for number in range(1, count + 1)]


def test_each_file_and_each_test_exists() -> None:
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    for number, file, test in ROW.findall(PAGE):
        assert (ROOT / file).is_file(), (number, file)
        assert test in defined, (number, test)
