"""The results: kept in bench/results.json, shown as tables in Markdown."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from load import REQUESTS

if TYPE_CHECKING:
    from parts import Options

RESULTS = Path(__file__).with_name("results.json")
Row = dict[str, Any]


class Results:
    """What was measured, by parts; each says when and on what."""

    def __init__(self, parts: dict[str, Row]) -> None:
        self.parts = parts

    @classmethod
    def load(cls, path: Path = RESULTS) -> Self:
        """Return what earlier runs have saved."""
        return cls(json.loads(path.read_text()) if path.exists() else {})

    def add(self, name: str, measured: Row, options: Options) -> None:
        """Put a part in the place of an earlier one."""
        self.parts[name] = {
            "made_at": time.strftime("%Y-%m-%d"),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "logs": options.logs,
            **measured,
        }

    def save(self, path: Path = RESULTS) -> None:
        """Write them."""
        path.write_text(json.dumps(self.parts, indent=1, sort_keys=True) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def median(row: Row, name: str) -> float:
    """Return the median of the rounds."""
    return statistics.median(each[name] for each in row["rounds"])


def spread(row: Row, name: str, digits: int = 0) -> str:
    """Return the median of the rounds, and the least and the most."""
    values = [each[name] for each in row["rounds"]]
    low, middle, high = min(values), statistics.median(values), max(values)
    if low == high:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


COLUMNS = {
    "Requests a second": lambda row: spread(row, "requests_per_second"),
    "p50 ms": lambda row: f"{median(row, 'p50'):.1f}",
    "p95 ms": lambda row: f"{median(row, 'p95'):.1f}",
    "p99 ms": lambda row: f"{median(row, 'p99'):.1f}",
    "Workers' CPU": lambda row: f"{median(row, 'workers_cpu'):.2f}",
    "PostgreSQL's CPU": lambda row: f"{median(row, 'postgres_cpu'):.2f}",
    "wrk's CPU": lambda row: f"{median(row, 'wrk_cpu'):.2f}",
    "Others": lambda row: f"{100 * median(row, 'others_share'):.0f} %",
    "Refused": lambda row: describe_refusals(row),
}


def describe_refusals(row: Row) -> str:
    """Return how many of 100 answers were refusals, by their statuses."""
    refused: dict[str, int] = {}
    for each in row["rounds"]:
        for status, count in each["refused"].items():
            refused[status] = refused.get(status, 0) + count
    total = sum(each["right"] for each in row["rounds"]) + sum(refused.values())
    return ", ".join(f"{status}: {100 * n / total:.0f} %" for status, n in sorted(refused.items()))


def tell_measurements(measured: Row) -> str:
    """Return the table of each request at each system."""
    rows = [
        [
            REQUESTS[row["request"]].title,
            str(row["connections"]),
            row["system"],
            *(cell(row) for cell in COLUMNS.values()),
        ]
        for row in measured["rows"]
    ]
    return table(["Request", "Connections", "System", *COLUMNS], rows)


TABLES: dict[str, Callable[[Row], str]] = {"comparison": tell_measurements}


def render(name: str, results: Results) -> str:
    """Return a part's table."""
    return TABLES[name](results.parts[name])
