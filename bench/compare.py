"""Compare taskapi with other stacks: one run, one PostgreSQL, the same data and requests, in turn.

Without options all parts are measured but the long ones. `make bench` does that and renews
bench/results.json and docs/performance.md, which says what is measured and how.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from embedded_postgres import EmbeddedPostgresError  # noqa: E402
from load import REQUESTS  # noqa: E402
from machine import describe_machine, describe_versions  # noqa: E402
from parts import PARTS  # noqa: E402
from report import TABLES, Results, tell_aims, tell_conclusion, write_page  # noqa: E402
from rounds import Bench, Options  # noqa: E402
from systems import KINDS, BenchError, checkout  # noqa: E402


def main() -> int:
    """Measure, print the tables, and return the exit status."""
    # A script's `&` would have SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    options = read_options()
    if shutil.which("wrk") is None:
        print("bench: wrk, which makes the load, is missing: apt install wrk", file=sys.stderr)
        return 1
    if missing := [words for kind in options.kinds if (words := kind.describe_missing())]:
        print(*(f"bench: {words}" for words in missing), sep="\n", file=sys.stderr)
        print("bench: --without NAMES leaves systems out", file=sys.stderr)
        return 1
    saved, measured = Results.load(), Results({})
    origin = {
        "made_at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "logs": options.logs,
    }
    try:
        with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder, ExitStack() as stack:
            seconds = sum(PARTS[name].estimate(options) for name in options.parts)
            bench = stack.enter_context(Bench(options, Path(folder), seconds))
            for name in options.parts:
                measured.parts[name] = {**origin, **PARTS[name].measure(bench)}
                saved.parts[name] = measured.parts[name]
                if options.save:
                    saved.save()
                    write_page(saved)
    except (BenchError, EmbeddedPostgresError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        print_results(measured)
    return 0


def print_results(measured: Results) -> None:
    """Print the conclusion, the aims, and a table of each part that was measured."""
    if measured.parts:
        tables = [TABLES[name](part) for name, part in measured.parts.items()]
        print(tell_conclusion(measured), tell_aims(measured), *tables, sep="\n")


def read_options() -> Options:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    short = [name for name, part in PARTS.items() if not part.is_long]

    def names(known: list[str]) -> dict[str, object]:
        return {"metavar": "NAMES", "help": f"of {', '.join(known)}"}

    add = parser.add_argument
    add("--parts", default=",".join(short), **names(list(PARTS)))  # type: ignore[arg-type]
    add("--systems", default=",".join(KINDS), **names(list(KINDS)))  # type: ignore[arg-type]
    add("--without", default="", metavar="NAMES", help="systems that are left out")
    add("--requests", default=",".join(REQUESTS), **names(list(REQUESTS)))  # type: ignore[arg-type]
    add("--connections", default="1,16,50", metavar="NUMBERS", help="of wrk, each in turn")
    add("--rounds", type=int, default=3, help="how often each system is measured (3)")
    add("--seconds", type=int, default=4, help="how long each time (4)")
    add("--quiet", action="store_true", help="no system logs its requests")
    add(
        "--checkout",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another checkout of taskapi with its .venv, measured as a system of this name",
    )
    add("--save", action="store_true", help="renew bench/results.json and docs/performance.md")
    given = parser.parse_args()
    kinds = dict(KINDS)
    for name, _, folder in (item.partition("=") for item in given.checkout):
        kinds[name] = checkout(name, Path(folder).resolve())
    chosen = [*given.systems.split(","), *(item.partition("=")[0] for item in given.checkout)]
    left_out = given.without.split(",") if given.without else []
    for wanted, known in (
        (chosen + left_out, kinds),
        (given.requests.split(","), REQUESTS),
        (given.parts.split(","), PARTS),
    ):
        if unknown := [name for name in wanted if name not in known]:
            parser.error(f"{', '.join(unknown)}: not of {', '.join(known)}")
    return Options(
        parts=given.parts.split(","),
        kinds=[kinds[name] for name in chosen if name not in left_out],
        requests=[REQUESTS[name] for name in given.requests.split(",")],
        connections=[int(number) for number in given.connections.split(",")],
        rounds=given.rounds,
        seconds=given.seconds,
        logs=not given.quiet,
        save=given.save,
    )


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
