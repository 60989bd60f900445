"""Compare this release with the one before: read one, list of 20 and create, in turn, in one run.

Each has a database of its own on one PostgreSQL, with the same tasks, at its own schema. A ratio is
this release's figure divided by that of the release before in the same round; the median of all
rounds is printed, with the smallest and the largest, and put into docs/database.md with --save.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from comparison import GROWTH_CONNECTIONS, SCALED  # noqa: E402
from rounds import TASKS, Bench, Options, Row, estimate_turns  # noqa: E402
from systems import TASKAPI  # noqa: E402

from tests.support.database_docs import save_tables  # noqa: E402
from tests.support.releases import LAST_MIGRATION, unpack_release_before  # noqa: E402

SIDES = 2
Figure = Callable[[dict[str, Any]], float]
# By what the releases are compared. On a machine that does something else too, processor time of
# the service and of PostgreSQL says most.
FIGURES: dict[str, Figure] = {
    "requests a second": lambda each: float(each["requests_per_second"]),
    "p50": lambda each: float(each["p50"]),
    "processor time": lambda each: float(each["workers_cpu"] + each["postgres_cpu"]),
}


def compare(bench: Bench, before: Path) -> list[Row]:
    """Measure both releases in turn."""
    with ExitStack() as stack:
        dataset = bench.make_dataset("before", TASKS, stack, LAST_MIGRATION)
        systems = [
            bench.make_system(replace(TASKAPI, name="before", root=before), dataset),
            bench.make_system(TASKAPI),
        ]
        rows = []
        with bench.targets(systems, [dataset, bench.dataset]) as targets:
            for request in SCALED:
                rows += bench.measure_in_turn(targets, request, GROWTH_CONNECTIONS)
        return rows


def tabulate(rows: list[Row]) -> list[str]:
    """Return a table of the ratios."""
    ratios = [f"Ratio of {name}" for name in FIGURES]
    columns = ["Request", "Connections", "Requests a second before", "After", *ratios]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    titles = {request.name: request.title for request in SCALED}
    for before, after in zip(rows[::SIDES], rows[1::SIDES], strict=True):
        pairs = list(zip(before["rounds"], after["rounds"], strict=True))
        rates = [
            statistics.median(each["requests_per_second"] for each in side["rounds"])
            for side in (before, after)
        ]
        cells = [titles[before["request"]], str(before["connections"])]
        cells += [f"{rate:,.0f}" for rate in rates]
        for figure in FIGURES.values():
            found = sorted(figure(new) / figure(old) for old, new in pairs)
            cells.append(f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--save", action="store_true", help="renew docs/database.md")
    given = parser.parse_args()
    options = Options(
        parts=[],
        kinds=[TASKAPI],
        requests=SCALED,
        connections=list(GROWTH_CONNECTIONS),
        rounds=given.rounds,
        seconds=given.seconds,
        logs=True,
        save=False,
    )
    estimate = estimate_turns(options, SIDES, len(SCALED), len(GROWTH_CONNECTIONS))
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        before = unpack_release_before(Path(folder) / "before")
        with Bench(options, Path(folder), estimate) as bench:
            rows = compare(bench, before)
    lines = tabulate(rows)
    print(*lines, sep="\n")
    if given.save:
        save_tables("releases", lines)


if __name__ == "__main__":
    main()
