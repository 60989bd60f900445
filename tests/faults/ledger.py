"""What a client was told of its writes, and whether the database agrees.

A task's *possible* states are those that the answers leave open. A write that begins adds the
states that it may lead to. Then

- an answer of success leaves the one state that it tells of: an acknowledged write must be there;
- a refusal (4xx, or a connection that was never made) takes them away again: nothing was done;
- anything else, no answer or a 5xx, leaves all: such a write may have been done, or be done later.
  A 503 is no exception, for it doesn't tell whether a statement had been sent.

In no case may a write have been done twice.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class State(NamedTuple):
    """What can change of a task."""

    title: str
    completed: bool


# None is a task that isn't there.
Effect = Callable[[State | None], State | None]


class Row(NamedTuple):
    """A task of the database; the marker is its description, which no client ever changes."""

    marker: str
    state: State


@dataclass(eq=False)
class Entry:
    """One task that a client has asked for, and what may have become of it."""

    marker: str = field(default_factory=lambda: uuid.uuid4().hex)
    id: str = ""
    possible: set[State | None] = field(default_factory=lambda: {None})
    lost: int = 0
    doubled: int = 0
    version: str = ""
    # What it was before the last write, to tell how many unknown ones were done.
    before: State | None = None

    @property
    def known(self) -> State | None:
        """The only state that is possible, or None if there are several, or if it is gone."""
        return next(iter(self.possible)) if len(self.possible) == 1 else None

    def saw(self, state: State | None) -> None:
        """Note what a read showed."""
        self.lost += state not in self.possible


class Write:
    """A write that is under way; it is of unknown outcome until one of the methods is called."""

    def __init__(self, entry: Entry, effect: Effect) -> None:
        self.entry = entry
        self.before = frozenset(entry.possible)
        self.after = {effect(state) for state in self.before}
        self.twice = {effect(state) for state in self.after}
        entry.before = entry.known
        entry.possible |= self.after

    def acknowledged(self, state: State | None, version: str = "") -> None:
        """The answer was a success, and showed this state and version of the task."""
        if state not in self.after:
            if state in self.twice:
                self.entry.doubled += 1
            else:
                self.entry.lost += 1
        # The tag of a task grows with every change, also where a clock steps back.
        if version:
            self.entry.lost += version <= self.entry.version
            self.entry.version = version
        self.entry.possible = {state}

    def refused(self) -> None:
        """The answer, or that there was no connection, says that nothing was done."""
        self.entry.possible = set(self.before)


class Verdict(NamedTuple):
    """What a comparison with the database found, in tasks."""

    unknown: int
    unknown_done: int
    lost: int
    doubled: int


def compare(entries: Iterable[Entry], rows: Iterable[Row]) -> Verdict:
    """Compare what clients were told with the rows that are there."""
    there: dict[str, list[State]] = defaultdict(list)
    for row in rows:
        there[row.marker].append(row.state)
    unknown = unknown_done = lost = doubled = 0
    for entry in entries:
        states = there.pop(entry.marker, [])
        doubled += entry.doubled + max(0, len(states) - 1)
        lost += entry.lost + (bool(entry.possible.isdisjoint(states or [None])))
        if len(entry.possible) > 1:
            unknown += 1
            unknown_done += (states[0] if states else None) != entry.before
    # A row of nobody's can only be a second one, made from what another request said.
    return Verdict(unknown, unknown_done, lost, doubled + sum(map(len, there.values())))
