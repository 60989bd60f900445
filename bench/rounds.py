"""A run of the bench: what is asked for, the server that all parts share, measuring in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from dataset import Dataset
from embedded_postgres import EmbeddedPostgres
from load import Audience, Measurement, Request, Target
from systems import Kind, Settings, System, running
from tqdm import tqdm

Row = dict[str, Any]

# Seconds that a measurement takes beside the load: wrk's start, the comparison with the database.
OVERHEAD = 0.6
WARM_UP = 1
WARM_UP_CONNECTIONS = 16
TASKS = 10_000
# All systems' pools and pgbench at once; PostgreSQL's own default is 100.
MAX_CONNECTIONS = "400"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    parts: list[str]
    kinds: list[Kind]
    requests: list[Request]
    connections: list[int]
    rounds: int
    seconds: int
    logs: bool
    save: bool


class Bench:
    """One PostgreSQL with the usual database, and how far the run is."""

    def __init__(self, options: Options, folder: Path, estimate: float) -> None:
        self.options = options
        self.folder = folder
        self.settings = Settings(logs=options.logs)
        self.postgres = EmbeddedPostgres(
            folder / "postgres", settings={"max_connections": MAX_CONNECTIONS}
        )
        self._stack = ExitStack()
        self._estimate = estimate

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.progress: tqdm[Any] = stack.enter_context(
                tqdm(
                    total=round(self._estimate),
                    bar_format="{percentage:3.0f} % |{bar:30}| {elapsed} of {desc}",
                    dynamic_ncols=True,
                    leave=False,
                    # Not into a file
                    disable=None,
                )
            )
            stack.enter_context(self.postgres)
            self.dataset = self.make_dataset("bench", TASKS, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def make_dataset(
        self, name: str, tasks: int, stack: ExitStack, to: int | None = None
    ) -> Dataset:
        """Return a filled database of this server, with all migrations or those up to a number."""
        dataset = Dataset(self.postgres.url, name, tasks)
        stack.callback(dataset.close)
        dataset.make(to)
        return dataset

    def make_system(self, kind: Kind, database: Dataset | None = None, **more: Any) -> System:
        """Return a system on the usual database, or on another one; it isn't started."""
        name = more.get("name") or kind.name
        settings = more.pop("settings", self.settings)
        url = (database or self.dataset).url
        return System(kind, url, self.folder / f"{name}.log", settings, **more)

    @contextmanager
    def targets(
        self,
        systems: Sequence[System],
        datasets: Sequence[Dataset] = (),
        audiences: Sequence[Audience] = (),
    ) -> Iterator[list[Target]]:
        """Start the systems and lend them as targets, each with its database; end them after."""
        with running(*systems), ExitStack() as stack:
            targets = [
                Target(
                    system,
                    datasets[i] if datasets else self.dataset,
                    self.postgres.pid,
                    self.folder,
                    audiences[i] if audiences else Audience(),
                )
                for i, system in enumerate(systems)
            ]
            for target in targets:
                stack.callback(target.close)
            yield targets

    @contextmanager
    def step(self, what: str, seconds: float) -> Iterator[None]:
        """Show what is being done, and that it will have taken so many seconds of the estimate."""
        self.progress.set_description_str(what)
        yield
        # An estimate that was too short must not show more than all.
        self.progress.update(min(seconds, self.progress.total - self.progress.n))

    def measure_in_turn(
        self, targets: Sequence[Target], request: Request, connections: Sequence[int]
    ) -> list[Row]:
        """Measure each system in each round, so that what disturbs the machine hits all alike."""
        options = self.options
        rows = []
        for target in targets:
            with self.step(f"{request.title}: {target.system.name} warms up", WARM_UP + OVERHEAD):
                target.measure(request, WARM_UP_CONNECTIONS, WARM_UP)
        for number in connections:
            rounds: dict[str, list[Measurement]] = {target.system.name: [] for target in targets}
            for turn in range(options.rounds):
                first = turn % len(targets)
                for target in [*targets[first:], *targets[:first]]:
                    name = target.system.name
                    what = f"{request.title}, {number} connections, round {turn + 1}: {name}"
                    with self.step(what, options.seconds + OVERHEAD):
                        rounds[name].append(target.measure(request, number, options.seconds))
            rows += [
                {
                    "system": name,
                    "request": request.name,
                    "connections": number,
                    "rounds": [asdict(measurement) for measurement in measurements],
                }
                for name, measurements in rounds.items()
            ]
        return rows


def estimate_turns(options: Options, targets: int, requests: int, connections: int) -> float:
    """Return about how many seconds measure_in_turn takes for so many of each."""
    rounds = connections * options.rounds * (options.seconds + OVERHEAD)
    return targets * requests * (WARM_UP + OVERHEAD + rounds)
