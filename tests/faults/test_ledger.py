"""The ledger finds what is lost or doubled, and blames nothing that may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.ledger import Entry, Row, State, Verdict, Write, compare

OLD, NEW = State("old", completed=False), State("new", completed=False)
TOGGLED = State("old", completed=True)


def toggle(state: State | None) -> State | None:
    return state and State(state.title, not state.completed)


def created() -> Entry:
    entry = Entry()
    Write(entry, lambda _: OLD).acknowledged(OLD)
    return entry


def verdict(entry: Entry, *states: State) -> Verdict:
    return compare([entry], [Row(entry.marker, state) for state in states])


def nothing(entry: Entry) -> None:
    """The client did nothing more."""


def update(entry: Entry) -> None:
    Write(entry, lambda _: NEW).acknowledged(NEW)


def update_unknown(entry: Entry) -> None:
    Write(entry, lambda _: NEW).unanswered()


def update_refused(entry: Entry) -> None:
    Write(entry, lambda _: NEW).refused()


def delete(entry: Entry) -> None:
    Write(entry, lambda _: None).acknowledged(None)


def delete_unknown(entry: Entry) -> None:
    Write(entry, lambda _: None).unanswered()


def toggle_twice(entry: Entry) -> None:
    """The client sent one, and was shown what two make."""
    Write(entry, toggle).acknowledged(OLD)


def shown_another(entry: Entry) -> None:
    Write(entry, toggle).acknowledged(NEW)


def read_stale(entry: Entry) -> None:
    update(entry)
    entry.saw(OLD)


def same_version(entry: Entry) -> None:
    for state in (TOGGLED, OLD):
        Write(entry, toggle).acknowledged(state, "2026-01-31T09:30:00.000000Z")


@pytest.mark.parametrize(
    ("act", "states", "expected"),
    [
        (nothing, [OLD], Verdict(0, 0, 0, 0)),
        (nothing, [], Verdict(0, 0, 1, 0)),
        (nothing, [OLD, OLD], Verdict(0, 0, 0, 1)),
        (update, [NEW], Verdict(0, 0, 0, 0)),
        (update, [OLD], Verdict(0, 0, 1, 0)),
        (update_unknown, [NEW], Verdict(1, 1, 0, 0)),
        (update_unknown, [OLD], Verdict(1, 0, 0, 0)),
        (update_unknown, [], Verdict(1, 1, 1, 0)),
        (update_refused, [OLD], Verdict(0, 0, 0, 0)),
        (update_refused, [NEW], Verdict(0, 0, 1, 0)),
        (delete, [], Verdict(0, 0, 0, 0)),
        (delete, [OLD], Verdict(0, 0, 1, 0)),
        (delete_unknown, [], Verdict(1, 1, 0, 0)),
        (delete_unknown, [OLD], Verdict(1, 0, 0, 0)),
        (toggle_twice, [OLD], Verdict(0, 0, 0, 1)),
        (shown_another, [NEW], Verdict(0, 0, 1, 0)),
        (read_stale, [NEW], Verdict(0, 0, 1, 0)),
        (same_version, [OLD], Verdict(0, 0, 1, 0)),
    ],
)
def test_it_tells_what_is_lost_and_what_is_doubled(
    act: Callable[[Entry], None], states: list[State], expected: Verdict
) -> None:
    entry = created()
    act(entry)
    assert verdict(entry, *states) == expected


def test_a_create_without_an_answer_may_be_there_once() -> None:
    entry = Entry()
    Write(entry, lambda _: OLD).unanswered()
    assert verdict(entry) == Verdict(1, 0, 0, 0)
    assert verdict(entry, OLD) == Verdict(1, 1, 0, 0)
    assert verdict(entry, OLD, OLD) == Verdict(1, 1, 0, 1)
    assert verdict(entry, NEW).lost == 1


def test_a_create_that_was_answered_in_the_end_is_there_once() -> None:
    entry = Entry()
    write = Write(entry, lambda _: OLD)
    write.unanswered()
    # No connection, the next time: that says nothing of the first.
    write.refused()
    assert entry.possible == {None, OLD}
    write.acknowledged(OLD)
    assert verdict(entry, OLD) == Verdict(0, 0, 0, 0)
    assert verdict(entry) == Verdict(0, 0, 1, 0)
    assert verdict(entry, OLD, OLD) == Verdict(0, 0, 0, 1)


def test_a_row_that_nobody_asked_for_is_a_double() -> None:
    assert compare([], [Row("whose?", OLD)]) == Verdict(0, 0, 0, 1)


def test_a_page_keeps_the_rows_of_what_was_not_run(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"before\n{report.FAULTS.begin}{report.FAULTS.end}after\n")
    cells = tuple("0" * (len(report.FAULTS.columns) - 1))
    results = [report.Result("2. b", cells), report.Result("1. a", cells)]
    table = report.FAULTS._replace(page=page)
    report.write_page(table, results)
    report.write_page(table, [report.Result("2. b", ("9", *cells[1:]))])
    before, *lines, after = page.read_text().splitlines()
    assert (before, after) == ("before", "after")
    rows = [line.split(" | ")[:2] for line in lines if ". " in line]
    assert rows == [["| 1. a", "0"], ["| 2. b", "9"]]
