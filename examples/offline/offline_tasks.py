"""An offline client of taskapi: a copy of a user's tasks, to be edited without a connection.

    tasks = OfflineTasks(http, Path("tasks.json"))  # http has a base_url and an Authorization
    id = tasks.create(title="Buy milk")
    tasks.update(id, completed=True)
    tasks.sync()  # raises httpx.HTTPError without a connection, or for 429 and 503: call it again

Edits merge member by member. If two clients change different members of a task, both changes stay;
if they change the same one, the client that syncs last wins. If one client deletes a task that
another one changes, the task stays. The last two are conflicts: `state.conflicts` has what each
side had, and nothing for the one that deleted the task. The application shows them to the user, and
clears the list. docs/api.md explains the protocol.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Task = dict[str, Any]

URL = "/api/me/tasks"
SET_BY_SERVICE = {"id", "user_id", "created_at", "updated_at", "completed_at"}


@dataclass
class State:
    """What the file keeps. What differs between `tasks` and `base` is not sent yet."""

    token: str | None = None  # the position in the change feed
    tasks: dict[str, Task] = field(default_factory=dict)  # as the user sees them
    base: dict[str, Task] = field(default_factory=dict)  # as the service last had them
    sent: dict[str, Task] = field(default_factory=dict)  # whose response may be lost
    conflicts: list[dict[str, Any]] = field(default_factory=list)


class OfflineTasks:
    """A copy of a user's tasks in a file, which also remembers what was edited."""

    def __init__(self, http: httpx.Client, file: Path) -> None:
        self.http, self.file, self.batch_size = http, file, 100
        self.state = State(**json.loads(file.read_text())) if file.exists() else State()

    def create(self, **members: Any) -> str:
        """Create a task and return its id, which needs no service."""
        id = str(uuid.uuid4())
        self.state.tasks[id] = {"id": id, "description": None, "completed": False, **members}
        self._save()
        return id

    def update(self, id: str, **members: Any) -> None:
        """Change members of a task. Raises KeyError if there is none."""
        self.state.tasks[id] = self.state.tasks[id] | members
        self._save()

    def delete(self, id: str) -> None:
        """Delete a task. Raises KeyError if there is none."""
        del self.state.tasks[id]
        self._save()

    def pending(self) -> list[str]:
        """Return the ids of the tasks that were edited and not sent."""
        tasks, base = self.state.tasks, self.state.base
        return [id for id in base | tasks if tasks.get(id) != base.get(id)]

    def sync(self) -> None:
        """Receive and send until nothing is left."""
        while True:
            try:
                # Always before a push: the feed tells whether a batch without a response arrived.
                self._pull()
                if not self.pending():
                    return
                self._push()
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status == 410 or (status == 422 and "since" in error.request.url.params):
                    self.state.token = None  # too old, or the service has a new secret
                elif status == 413 and self.batch_size > 1:
                    self.batch_size //= 2
                else:
                    raise

    def _save(self) -> None:
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(vars(self.state)))
        draft.replace(self.file)

    def _call(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        return self.http.request(method, url, **kwargs).raise_for_status()

    def _pull(self) -> None:
        """Follow the change feed to its end."""
        state, more = self.state, True
        if state.token is None:
            self._start_over()
        while more:
            page = self._call("GET", f"{URL}/changes", params={"since": state.token}).json()
            for change in page["changes"]:
                self._receive(change["id"], {} if "deleted" in change else change)
            state.token, more = page["next"], page["more"]
        state.sent = {}
        self._save()

    def _start_over(self) -> None:
        """Take a token, then list all tasks: a change in between is in the feed."""
        token = self._call("GET", f"{URL}/changes").json()["next"]
        listed: dict[str, Task] = {}
        url: str | None = URL
        while url:
            page = self._call("GET", url)
            listed |= {task["id"]: task for task in page.json()}
            url = page.links.get("next", {}).get("url")
        for id in {*self.state.base, *self.state.sent, *listed}:
            self._receive(id, listed.get(id, {}))
        self.state.token = token

    def _push(self) -> None:
        """Send the first edits as a batch."""
        state, ids = self.state, self.pending()[: self.batch_size]
        state.sent = {id: state.tasks.get(id, {}) for id in ids}
        self._save()
        operations = [self._operation(id) for id in ids]
        answer = self._call("POST", f"{URL}/batch", json={"operations": operations}).json()
        for id, result in zip(ids, answer["results"], strict=True):
            if result["status"] < 300:
                state.base[id] = state.sent[id]  # it arrived
            self._receive(id, result.get("task") or result.get("current") or {})
        state.sent = {}
        self._save()

    def _operation(self, id: str) -> dict[str, Any]:
        mine, base = self.state.tasks.get(id), self.state.base.get(id)
        if base is None:
            return {"op": "create", "id": id, **_content(mine or {})}
        known = {"id": id, "if_match": f'"{base["updated_at"]}"'}
        if mine is None:
            return {"op": "delete", **known}
        return {"op": "update", **known, **{n: v for n, v in mine.items() if v != base[n]}}

    def _receive(self, id: str, now: Task) -> None:
        """Merge what the service has with what was edited here. An empty task is a deleted one."""
        state = self.state
        mine, base = state.tasks.pop(id, {}), state.base.pop(id, {})
        sent = state.sent.pop(id, base)  # nobody else has changed what is as in one of these two
        edited = {n: v for n, v in _content(mine).items() if not v == base.get(n) == sent.get(n)}
        merged, clash = now, list[str]()
        if mine == base == sent:
            pass
        elif not now:  # put it back
            merged, clash = mine, [*edited] if base or sent else []
        elif mine:
            merged = now | edited
            clash = [n for n in edited if now[n] not in (mine[n], base.get(n), sent.get(n))]
        elif any(side and _content(side).items() <= now.items() for side in (base, sent)):
            merged = {}  # delete it: nobody else has changed what was known of it
        else:
            clash = [*_content(now)]
        if clash:
            sides = {"mine": mine, "theirs": now}
            shown = {side: {n: task[n] for n in clash if n in task} for side, task in sides.items()}
            state.conflicts.append({"id": id, **shown})
        state.tasks |= {id: merged} if merged else {}
        state.base |= {id: now} if now else {}


def _content(task: Task) -> Task:
    return {name: value for name, value in task.items() if name not in SET_BY_SERVICE}
