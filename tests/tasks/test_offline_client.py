"""examples/offline: what its client does in each case that docs/api.md names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.feeds import read_list
from tests.support.replicas import Replica, assert_same
from tests.support.service import NO_AUTHORITIES

Make = Callable[..., Replica]


@pytest.fixture
def make(user: Account, tmp_path: Path) -> Iterator[Make]:
    """Return a function that starts the client with this file, "one" by default."""
    with httpx.HTTPTransport(verify=NO_AUTHORITIES) as inner:
        yield lambda name="one": Replica(user, inner, tmp_path / f"{name}.json")


def test_what_was_edited_offline_arrives(user: Account, make: Make) -> None:
    kept, renamed, gone = (user.create(title)["id"] for title in ("kept", "renamed", "gone"))
    replica = make()
    replica.sync()
    assert_same(user, replica)
    replica.update(renamed, title="new name")
    replica.update(renamed, completed=True)
    replica.delete(gone)
    new = replica.create(title="new", description="d")
    never = replica.create(title="never sent")
    replica.delete(never)
    expected = dict(replica.state.tasks)
    assert set(expected) == {kept, renamed, new}
    assert len(user.request("GET").json()) == 3
    replica.sync()
    assert_same(user, replica)
    for id, task in replica.state.tasks.items():
        assert expected[id]["title"] == task["title"]
        assert expected[id]["completed"] == task["completed"]
    assert replica.state.conflicts == []
    assert len(replica.batches()) == 1


def test_a_restart_forgets_nothing(user: Account, make: Make) -> None:
    replica = make()
    replica.sync()
    id = replica.create(title="before")
    assert make().state.tasks == replica.state.tasks
    make().sync()
    assert_same(user, make())
    assert make().state.tasks[id]["title"] == "before"


@pytest.mark.parametrize("fault", ["lost", "lost with 503"])
def test_a_lost_response_doubles_nothing(user: Account, make: Make, fault: str) -> None:
    changed, gone = user.create("changed")["id"], user.create("gone")["id"]
    replica = make()
    replica.sync()
    replica.create(title="new")
    replica.update(changed, title="changed once")
    replica.delete(gone)
    replica.sync_with("none", fault)
    assert len(replica.batches()) == 1
    replica = make()
    replica.sync()
    assert_same(user, replica)
    assert sorted(task["title"] for task in replica.state.tasks.values()) == ["changed once", "new"]
    assert replica.batches() == []  # the feed told that all had arrived
    assert replica.state.conflicts == []


def test_what_follows_a_lost_response_is_no_conflict(user: Account, make: Make) -> None:
    replica = make()
    new, gone = replica.create(title="first"), replica.create(title="gone")
    assert not replica.sync_with("none", "none", "none", "lost")
    assert len(user.request("GET").json()) == 2
    replica.update(new, title="second")
    replica.delete(gone)
    replica.sync()
    assert_same(user, replica)
    assert [task["title"] for task in replica.state.tasks.values()] == ["second"]
    assert replica.state.conflicts == []


def sync_both(make: Make, edit_one: Callable[[Replica], Any], edit_two: Callable[..., Any]) -> Any:
    """Let two clients edit the same copy, and sync the first, the second, the first."""
    one, two = make("one"), make("two")
    one.sync()
    two.sync()
    edit_one(one)
    edit_two(two)
    one.sync()
    two.sync()
    one.sync()
    return one, two


def test_two_clients_that_change_different_members_both_succeed(user: Account, make: Make) -> None:
    id = user.create("old")["id"]
    one, two = sync_both(
        make, lambda it: it.update(id, title="one"), lambda it: it.update(id, description="two")
    )
    assert_same(user, one, two)
    assert (one.state.tasks[id]["title"], one.state.tasks[id]["description"]) == ("one", "two")
    assert one.state.conflicts == two.state.conflicts == []


def test_the_last_of_two_that_change_the_same_member_wins(user: Account, make: Make) -> None:
    id = user.create("old")["id"]
    one, two = sync_both(
        make, lambda it: it.update(id, title="one"), lambda it: it.update(id, title="two")
    )
    assert_same(user, one, two)
    assert one.state.tasks[id]["title"] == "two"
    conflict = {"id": id, "mine": {"title": "two"}, "theirs": {"title": "one"}}
    assert (one.state.conflicts, two.state.conflicts) == ([], [conflict])


def test_a_task_that_another_client_deletes_is_put_back(user: Account, make: Make) -> None:
    id = user.create("old", description="kept")["id"]
    one, two = sync_both(make, lambda it: it.delete(id), lambda it: it.update(id, title="two"))
    assert_same(user, one, two)
    assert (one.state.tasks[id]["title"], one.state.tasks[id]["description"]) == ("two", "kept")
    assert two.state.conflicts == [{"id": id, "mine": {"title": "two"}, "theirs": {}}]


def test_a_task_that_another_client_changes_is_not_deleted(user: Account, make: Make) -> None:
    id = user.create("old")["id"]
    one, two = sync_both(make, lambda it: it.update(id, title="one"), lambda it: it.delete(id))
    assert_same(user, one, two)
    assert one.state.tasks[id]["title"] == "one"
    [conflict] = two.state.conflicts
    assert (conflict["id"], conflict["mine"], conflict["theirs"]["title"]) == (id, {}, "one")


def test_a_412_and_a_404_are_merged(user: Account, make: Make) -> None:
    ids = changed, same, touched, gone = [user.create("old")["id"] for _ in range(4)]
    replica = make()
    replica.sync()
    replica.update(changed, description="mine")
    replica.update(same, title="mine")
    replica.delete(touched)
    replica.update(gone, title="mine")

    def write() -> None:
        for id in ids[:3]:
            user.request("PATCH", f"/{id}", json={"title": "theirs"})
        user.request("DELETE", f"/{gone}")

    replica.transport.overtake = write
    replica.sync_with("none", "overtaken")
    assert_same(user, replica)
    assert len(replica.batches()) == 2
    tasks = read_list(user)
    assert (tasks[changed]["title"], tasks[changed]["description"]) == ("theirs", "mine")
    assert tasks[same]["title"] == "mine"
    assert tasks[touched]["title"] == "theirs"
    assert tasks[gone]["title"] == "mine"
    assert {one["id"] for one in replica.state.conflicts} == {same, touched, gone}


def test_a_client_that_was_away_too_long_starts_over(
    user: Account, make: Make, database: psycopg.Connection[Any]
) -> None:
    kept, changed, gone = (user.create(title)["id"] for title in ("kept", "changed", "gone"))
    replica = make()
    replica.sync()
    replica.update(changed, title="mine")
    replica.create(title="new")
    user.request("DELETE", f"/{gone}")
    database.execute("UPDATE clocks SET purged_at = 'infinity' WHERE user_id = %s", [user.id])
    since = replica.state.token
    response = user.request("GET", "/changes", params={"since": since})
    assert response.status_code == 410
    answers: list[int] = []
    replica.http.event_hooks["response"] = [lambda it: answers.append(it.status_code)]

    def recover(response: httpx.Response) -> None:
        if response.status_code == 410:
            database.execute(
                "UPDATE clocks SET purged_at = '-infinity' WHERE user_id = %s", [user.id]
            )

    replica.http.event_hooks["response"].append(recover)
    replica.sync()
    assert answers[0] == 410
    assert_same(user, replica)
    assert kept in replica.state.tasks
    assert sorted(task["title"] for task in replica.state.tasks.values()) == ["kept", "mine", "new"]
    assert replica.state.conflicts == []


def test_a_token_of_an_old_secret_starts_over(user: Account, make: Make) -> None:
    user.create()
    replica = make()
    replica.sync()
    replica.state.token = "signed-by-another-secret"
    replica.sync()
    assert_same(user, replica)


def test_it_goes_on_when_the_service_is_no_longer_busy(user: Account, make: Make) -> None:
    replica = make()
    replica.create(title="new")
    for faults in (["refused"], ["none", "none", "none", "refused"]):
        replica.transport.faults = faults
        with pytest.raises(httpx.HTTPStatusError):
            replica.sync()
    replica.sync()
    assert_same(user, replica)
    assert len(replica.batches()) == 1


def test_a_batch_that_is_too_large_is_divided(user: Account, make: Make) -> None:
    replica = make()
    for number in range(100):
        replica.create(title=f"task {number}", description="\U0001f600" * 10_000)
    replica.sync()
    assert_same(user, replica)
    assert len(replica.state.tasks) == 100


def test_a_refused_edit_stays_until_it_is_corrected(user: Account, make: Make) -> None:
    replica = make()
    bad = replica.create(title="two\nlines")
    replica.create(title="good")
    with pytest.raises(httpx.HTTPStatusError) as error:
        replica.sync()
    assert error.value.response.json()["detail"][0]["loc"] == ["body", "operations", 0, "title"]
    assert replica.pending()[0] == bad
    replica.update(bad, title="one line")
    replica.sync()
    assert_same(user, replica)
    with pytest.raises(KeyError):
        replica.update("0", title="t")


def test_a_deletion_that_the_feed_lacks_is_noticed(
    user: Account, make: Make, database: psycopg.Connection[Any]
) -> None:
    """As after a restore: the client doesn't send the same edit for ever."""
    id = user.create("old")["id"]
    replica = make()
    replica.sync()
    user.request("DELETE", f"/{id}")
    database.execute("DELETE FROM deleted_tasks WHERE user_id = %s", [user.id])
    replica.update(id, title="mine")
    replica.sync()
    assert_same(user, replica)
    assert replica.state.tasks[id]["title"] == "mine"
    assert [one["theirs"] for one in replica.state.conflicts] == [{}]
