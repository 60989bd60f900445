"""How long a scenario is, what it has to show, and the table of all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tests.faults.ledger import Verdict
from tests.faults.load import EXCUSED, Load

LONG = os.environ.get("FAULTS") == "long"
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"

COLUMNS = (
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


class Result(NamedTuple):
    """A row of the table."""

    scenario: str
    cells: tuple[str, ...]


RESULTS: list[Result] = []


def choose(short: int, long: int) -> int:
    """Return how many rounds, or seconds, this run is for."""
    return long if LONG else short


def conclude(
    load: Load, database_url: str, scenario: str, rounds: int | str, notes: str = ""
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
    RESULTS.append(Result(scenario, cells))
    assert (verdict.lost, verdict.doubled) == (0, 0), cells
    assert set(load.failures) <= EXCUSED, load.failures
    return verdict


def table(results: list[Result]) -> str:
    """Return the results as a table in Markdown, in the scenarios' order."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [(result.scenario, *result.cells) for result in sorted(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_page(results: list[Result], page: Path = PAGE) -> None:
    """Renew these scenarios' rows in the page, and keep the others."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in old.splitlines()[2:]]
    kept = {row[0]: Result(row[0], row[1:]) for row in rows}
    kept |= {result.scenario: result for result in results}
    page.write_text(f"{before}{BEGIN}{table(list(kept.values()))}{END}{after}")
