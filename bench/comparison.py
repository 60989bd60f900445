"""What is measured of systems in turn: stacks, workers, sizes of the table, wrk's checks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace

from dataset import Dataset
from load import REQUESTS, spread_over
from rounds import OVERHEAD, Bench, Options, Row, estimate_turns
from systems import KINDS, TASKAPI

WORKERS = (1, 2, 4)
SIZES = (10_000, 1_000_000, 10_000_000)
# A request on its own, whose time is all its own; and as many as the workers' threads.
GROWTH_CONNECTIONS = (1, 16)
SCALED = [REQUESTS[name] for name in ("read", "list", "create")]
# Seconds for a million tasks: to fill in, and to fetch and compare what will be read.
_FILL = 40
_FETCH = 45


def measure_stacks(bench: Bench) -> Row:
    """Measure each request at each system; an empty one answers as many bytes as taskapi would."""
    options = bench.options
    full = [bench.make_system(kind) for kind in options.kinds if not kind.is_empty]
    empty = [kind for kind in options.kinds if kind.is_empty]
    rows = []
    with bench.targets(full) as targets:
        for request in options.requests:
            # Nobody's constant checks a password.
            kinds = [] if request.name == "login" else empty
            size = str(bench.dataset.answer_bytes(request.tasks))
            constants = [bench.make_system(kind, BODY_BYTES=size) for kind in kinds]
            with bench.targets(constants) as others:
                rows += bench.measure_in_turn([*targets, *others], request, options.connections)
    return {"rows": rows}


def estimate_stacks(options: Options) -> float:
    """Return about how many seconds measure_stacks takes."""
    total = 0.0
    for request in options.requests:
        systems = [k for k in options.kinds if not (k.is_empty and request.name == "login")]
        total += estimate_turns(options, len(systems), 1, len(options.connections))
    return total


def measure_workers(bench: Bench) -> Row:
    """Measure taskapi with 1, 2 and 4 workers."""
    systems = [
        bench.make_system(
            TASKAPI, name=f"workers-{number}", settings=replace(bench.settings, workers=number)
        )
        for number in WORKERS
    ]
    rows = []
    with bench.targets(systems) as targets:
        for request in SCALED:
            rows += bench.measure_in_turn(targets, request, [16])
    return {"rows": rows}


def estimate_workers(options: Options) -> float:
    """Return about how many seconds measure_workers takes."""
    return estimate_turns(options, len(WORKERS), len(SCALED), 1)


def measure_growth(bench: Bench) -> Row:
    """Measure taskapi with ever more tasks in the table, what is asked for being all over it."""
    rows = []
    with ExitStack() as stack:
        datasets: list[Dataset] = []
        for tasks in SIZES:
            with bench.step(f"filling in {tasks:,} tasks", _FILL * tasks / 1e6):
                datasets.append(bench.make_dataset(f"growth_{tasks}", tasks, stack))
        systems = [
            bench.make_system(TASKAPI, dataset, name=f"tasks-{dataset.tasks}")
            for dataset in datasets
        ]
        audiences = [spread_over(dataset) for dataset in datasets]
        with bench.targets(systems, datasets, audiences) as targets:
            for request in SCALED:
                rows += bench.measure_in_turn(targets, request, GROWTH_CONNECTIONS)
        sizes = {str(each.tasks): each.run("measure_tasks")[0][0] for each in datasets}
    return {"rows": rows, "bytes": sizes}


def estimate_growth(options: Options) -> float:
    """Return about how many seconds measure_growth takes."""
    turns = estimate_turns(options, len(SIZES), len(SCALED), len(GROWTH_CONNECTIONS))
    return sum(SIZES) / 1e6 * _FILL + _FETCH + turns


def measure_checks(bench: Bench) -> Row:
    """Measure what checking the answers costs wrk, at a system that costs as little as can be."""
    options = bench.options
    size = str(bench.dataset.answer_bytes(1))
    rounds: dict[bool, list[Row]] = {True: [], False: []}
    with bench.targets([bench.make_system(KINDS["wsgi-empty"], BODY_BYTES=size)]) as [target]:
        for turn in range(options.rounds):
            for checked, measured in rounds.items():
                with bench.step(f"wrk's checks, round {turn + 1}", options.seconds + OVERHEAD):
                    each = target.measure(REQUESTS["read"], 16, options.seconds, checked=checked)
                    measured.append(asdict(each))
    return {"rows": [{"checked": checked, "rounds": each} for checked, each in rounds.items()]}


def estimate_checks(options: Options) -> float:
    """Return about how many seconds measure_checks takes."""
    return 2 * options.rounds * (options.seconds + OVERHEAD)
