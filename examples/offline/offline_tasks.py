"""An offline client of taskapi: a copy of a user's tasks, to be edited without a connection.

    tasks = OfflineTasks(http, Path("tasks.json"))  # http has a base_url and an Authorization
    id = tasks.create(title="Buy milk")
    tasks.update(id, completed=True)
    tasks.sync()  # raises httpx.HTTPError without a connection: call it again later

Edits merge member by member. If two clients change different members of a task, both changes stay;
if they change the same one, the client that syncs last wins. If one client deletes a task that
another one changes, the task stays. The last two are conflicts: `state.conflicts` has what each
side had, for the application to show and to clear. docs/api.md explains the protocol.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Task = dict[str, Any]
Edit = dict[str, Any] | None  # the members that have changed; None: the task was deleted

TASKS = "/api/me/tasks"
SET_BY_SERVICE = {"id", "user_id", "created_at", "updated_at", "completed_at"}


@dataclass
class State:
    """What the file keeps."""

    token: str | None = None  # the position in the change feed
    tasks: dict[str, Task] = field(default_factory=dict)  # as the service last had them
    edits: dict[str, Edit] = field(default_factory=dict)  # the queue: what the service lacks
    sent: dict[str, Edit] = field(default_factory=dict)  # the edits whose response may be lost
    conflicts: list[dict[str, Any]] = field(default_factory=list)


class OfflineTasks:
    """A copy of a user's tasks in a file, with the edits that are not sent yet."""

    def __init__(self, http: httpx.Client, file: Path) -> None:
        self.http, self.file, self.batch_size = http, file, 100
        self.missing: set[str] = set()  # what got 404: the feed is going to tell
        self.state = State(**json.loads(file.read_text())) if file.exists() else State()

    def show(self) -> dict[str, Task]:
        """Return the tasks by id, with all edits."""
        shown = dict(self.state.tasks)
        for id, edit in self.state.edits.items():
            task = shown.pop(id, {"id": id})
            if edit is not None:
                shown[id] = task | edit
        return shown

    def create(self, **members: Any) -> str:
        """Create a task and return its id, which needs no service."""
        id = str(uuid.uuid4())
        self._edit(id, {"description": None, "completed": False} | members)
        return id

    def update(self, id: str, **members: Any) -> None:
        """Change members of a task. Raises KeyError if there is none."""
        if id not in self.show():
            raise KeyError(id)
        self._edit(id, (self.state.edits.get(id) or {}) | members)

    def delete(self, id: str) -> None:
        """Delete a task."""
        self._edit(id, None)

    def sync(self, patience: int = 5) -> None:
        """Receive and send until nothing is left. Waits as often if the service is busy."""
        while True:
            try:
                # Always before a push: the feed tells whether a batch without a response arrived.
                self._pull()
                if not self.state.edits:
                    return
                self._push()
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in (429, 503) and patience:
                    patience -= 1
                    time.sleep(float(error.response.headers.get("Retry-After", 5)))
                elif status == 413 and self.batch_size > 1:
                    self.batch_size //= 2
                elif status == 410 or (status == 422 and "since" in error.request.url.params):
                    self.state.token = None  # too old, or the service has a new secret
                else:
                    raise

    def _edit(self, id: str, edit: Edit) -> None:
        self.state.edits[id] = edit
        self._save()

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
            page = self._call("GET", f"{TASKS}/changes", params={"since": state.token}).json()
            for change in page["changes"]:
                self._receive(change["id"], None if "deleted" in change else change)
            state.token, more = page["next"], page["more"]
        if self.missing & state.tasks.keys():
            state.token = None  # the feed doesn't tell: start over
        state.sent, self.missing = {}, set()
        # What was created and deleted offline, the service never had.
        state.edits = {id: edit for id, edit in state.edits.items() if edit or id in state.tasks}
        self._save()

    def _start_over(self) -> None:
        """Take a token, then list all tasks: a change in between is in the feed."""
        token = self._call("GET", f"{TASKS}/changes").json()["next"]
        listed: dict[str, Task] = {}
        url: str | None = TASKS
        while url:
            page = self._call("GET", url)
            listed |= {task["id"]: task for task in page.json()}
            url = page.links.get("next", {}).get("url")
        for id in {*self.state.tasks, *self.state.sent, *listed}:
            self._receive(id, listed.get(id))
        self.state.token = token

    def _push(self) -> None:
        """Send the first edits as a batch."""
        state = self.state
        state.sent = dict([*state.edits.items()][: self.batch_size])
        self._save()
        operations = [self._operation(id, edit) for id, edit in state.sent.items()]
        answer = self._call("POST", f"{TASKS}/batch", json={"operations": operations}).json()
        for id, result in zip(state.sent, answer["results"], strict=True):
            if result["status"] < 300:
                del state.edits[id]
            if result["status"] == 404:
                self.missing.add(id)
            else:
                self._receive(id, result.get("task") or result.get("current"))
        self._save()

    def _operation(self, id: str, edit: Edit) -> dict[str, Any]:
        if id not in self.state.tasks:
            return {"op": "create", "id": id, **(edit or {})}
        known = {"id": id, "if_match": f'"{self.state.tasks[id]["updated_at"]}"'}
        return {"op": "delete", **known} if edit is None else {"op": "update", **known, **edit}

    def _receive(self, id: str, now: Task | None) -> None:
        """Take what the service has, None if it is deleted, and keep what is left of the edit."""
        state = self.state
        before, sent = state.tasks.pop(id, {}), state.sent.get(id) or {}
        if now is not None:
            state.tasks[id] = now
        if id not in state.edits:
            return
        edit = state.edits.pop(id)
        if now is None and edit is not None:  # put it back
            state.edits[id] = _content(before) | edit
            state.conflicts.append({"id": id, "mine": edit, "theirs": None})
        elif now is not None and edit is None:
            if _content(now) in (_content(before), _content(before) | sent):
                state.edits[id] = None
            else:
                state.conflicts.append({"id": id, "mine": None, "theirs": _content(now)})
        elif now is not None and edit is not None:
            left = {name: value for name, value in edit.items() if now[name] != value}
            theirs = {
                name: now[name]
                for name in left
                if now[name] not in (before.get(name, ...), sent.get(name, ...))
            }
            if left:
                state.edits[id] = left
            if theirs:
                mine = {name: left[name] for name in theirs}
                state.conflicts.append({"id": id, "mine": mine, "theirs": theirs})


def _content(task: Task) -> Task:
    return {name: value for name, value in task.items() if name not in SET_BY_SERVICE}
