"""The parts of the bench."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import comparison
import floor
import lifetimes
from rounds import Bench, Options, Row


class Part(NamedTuple):
    """What measures a part, and about how many seconds that takes."""

    measure: Callable[[Bench], Row]
    estimate: Callable[[Options], float]
    is_long: bool = False


PARTS = {
    "stacks": Part(comparison.measure_stacks, comparison.estimate_stacks),
    "floor": Part(floor.measure_floor, floor.estimate_floor),
    "workers": Part(comparison.measure_workers, comparison.estimate_workers),
    "pool": Part(lifetimes.measure_pool, lifetimes.estimate_pool),
    "starts": Part(lifetimes.measure_starts, lifetimes.estimate_starts),
    "memory": Part(lifetimes.measure_memory, lifetimes.estimate_memory),
    "checks": Part(comparison.measure_checks, comparison.estimate_checks),
    "million": Part(lifetimes.measure_million, lifetimes.estimate_million, is_long=True),
    "growth": Part(comparison.measure_growth, comparison.estimate_growth, is_long=True),
    "idle": Part(lifetimes.measure_idle, lifetimes.estimate_idle, is_long=True),
}
