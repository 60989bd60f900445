"""A batch: operations on many tasks in one request, each as the single request would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from taskapi.exceptions import Fault, InvalidInput, fault, missing
from taskapi.tasks.etags import Task, parse_versions
from taskapi.tasks.schemas import (
    BatchSchema,
    CreateOperationSchema,
    DeleteOperationSchema,
    UpdateOperationSchema,
)
from taskapi.web.payloads import load

BATCH = BatchSchema()
OPERATIONS: dict[str, Schema] = {
    "create": CreateOperationSchema(),
    "update": UpdateOperationSchema(),
    "delete": DeleteOperationSchema(),
}


def read_batch(body: Mapping[str, Any] | None) -> tuple[list[Mapping[str, Any]], bool]:
    """Return a batch's operations as the query takes them, and whether it is atomic.

    Raises InvalidInput with the faults of all operations. A `loc` has the operation's index.
    """
    batch = load(BATCH, body)
    operations: list[Mapping[str, Any]] = []
    faults: list[Fault] = []
    seen: set[str] = set()
    for index, operation in enumerate(batch["operations"]):
        try:
            operations.append(_read_operation(operation, index))
        except InvalidInput as error:
            faults += error.faults
            continue
        id = operations[-1].get("id")
        if id in seen:
            faults.append(fault(("body", "operations", index), "id", "Appears twice"))
        elif id is not None:
            seen.add(id)
    if faults:
        raise InvalidInput(*faults)
    return operations, batch["atomic"]


def show_result(status: int, task: Task) -> dict[str, Any]:
    """Return an operation's entry in the response."""
    result: dict[str, Any] = {"status": status}
    if task["id"] is not None:
        result["current" if status == 412 else "task"] = task
    return result


def _read_operation(operation: object, index: int) -> dict[str, Any]:
    location = ("body", "operations", index)
    if not isinstance(operation, dict):
        raise InvalidInput(
            {"loc": [*location], "msg": "Must be a JSON object", "type": "value_error"}
        )
    op = operation.get("op")
    if op is None:
        raise InvalidInput(missing(location, "op"))
    schema = OPERATIONS.get(op) if isinstance(op, str) else None
    if schema is None:
        raise InvalidInput(fault(location, "op", "Must be create, update or delete"))
    members = load(schema, operation, location)
    read: dict[str, Any] = {"op": members.pop("op")}
    if "id" in members:
        read["id"] = members.pop("id")
    if "if_match" in members:
        versions = parse_versions(members.pop("if_match"))
        if versions is not None:
            read["versions"] = [version.isoformat() for version in versions]
    read["members"] = members
    return read
