"""How long a scenario is, what it has to show, and the table of all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tests.faults.ledger import Verdict
from tests.faults.load import EXCUSED, Load

LONG = os.environ.get("FAULTS") == "long"
DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "faults.md"


class Table(NamedTuple):
    """A table in a page of docs/, between two comments with its name."""

    name: str
    columns: tuple[str, ...]
    page: Path = PAGE

    @property
    def begin(self) -> str:
        """The line before the table."""
        return f"<!-- {self.name} -->\n"

    @property
    def end(self) -> str:
        """The line after the table."""
        return f"<!-- end of {self.name} -->\n"


_FAULTS = (
    "Scenario",
    "Rounds",
    "Requests",
    "Failed",
    "Unknown (done)",
    "Lost",
    "Doubled",
    "Longest outage",
    "Slowest success",
    "Notes",
)
FAULTS = Table("results", _FAULTS)
PATRONI = Table("patroni", _FAULTS, DOCS / "scaling.md")
HOSTILE = Table(
    "hostile",
    (
        "Abuse",
        "Its requests/s",
        "Served",
        "Users' requests",
        "Failed",
        "p95 without",
        "p95 beside it",
        "Ratio",
        "Back after",
        "Processors without",
        "beside it",
        "Memory without",
        "beside it",
    ),
)


class Result(NamedTuple):
    """A row of the table."""

    scenario: str
    cells: tuple[str, ...]


RESULTS: dict[Table, list[Result]] = {FAULTS: [], PATRONI: [], HOSTILE: []}


def choose(short: int, long: int) -> int:
    """Return how many rounds, or seconds, this run is for."""
    return long if LONG else short


def conclude(
    load: Load,
    database_url: str,
    scenario: str,
    rounds: int | str,
    notes: str = "",
    table: Table = FAULTS,
) -> Verdict:
    """Compare, write the row, and fail if anything was lost, doubled, or answered as a defect."""
    verdict = load.settle(database_url)
    exchanges = load.exchanges
    slowest = max(e.ended - e.began for e in exchanges if e.succeeded)
    cells = (
        str(rounds),
        f"{len(exchanges):,}",
        f"{load.failed:,}",
        f"{verdict.unknown} ({verdict.unknown_done})",
        str(verdict.lost),
        str(verdict.doubled),
        f"{load.longest_outage:.1f} s" if load.failed else "none",
        f"{slowest:.1f} s",
        notes,
    )
    RESULTS[table].append(Result(scenario, cells))
    assert (verdict.lost, verdict.doubled) == (0, 0), cells
    assert set(load.failures) <= EXCUSED, load.failures
    return verdict


def render(table: Table, results: list[Result]) -> str:
    """Return the results as a table in Markdown, in the scenarios' order."""
    lines = [table.columns, ("---",) * len(table.columns)]
    lines += [(result.scenario, *result.cells) for result in sorted(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_page(table: Table, results: list[Result]) -> None:
    """Renew these scenarios' rows in the table's page, and keep the others."""
    text = table.page.read_text()
    before, rest = text.split(table.begin)
    old, after = rest.split(table.end)
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in old.splitlines()[2:]]
    kept = {row[0]: Result(row[0], row[1:]) for row in rows}
    kept |= {result.scenario: result for result in results}
    rows_now = render(table, list(kept.values()))
    table.page.write_text(f"{before}{table.begin}{rows_now}{table.end}{after}")
