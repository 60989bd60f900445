"""What a client was told of its writes, and whether the database agrees.

A task's *possible* states are those that the answers leave open. After a write

- that succeeded it is the one state that the answer shows: an acknowledged write must be there;
- that was refused (4xx, or a connection that was never made) they are what they were: nothing was
  done;
- that had no answer or a 5xx they are what they were and what the write leads to: it may have been
  done, or be done later. A 503 is no exception: it doesn't tell whether a statement had been sent.

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
    """A write that is under way, sent once or, with a key, again and again until it is answered."""

    def __init__(self, entry: Entry, effect: Effect) -> None:
        self.entry = entry
        self.before = frozenset(entry.possible)
        self.after = frozenset(effect(state) for state in self.before)
        self.twice = frozenset(effect(state) for state in self.after)
        self.may_be_done = False
        entry.before = entry.known

    def unanswered(self) -> None:
        """No answer came, or one that doesn't tell."""
        self.may_be_done = True
        self.entry.possible |= self.after

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
        """Nothing was done this time: the answer says so, or there was no connection."""
        if not self.may_be_done:
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
