"""A user's tasks: /api/{user_id}/tasks."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query
from sqlmodel import select

from fastapi_sqlmodel.database import Session
from fastapi_sqlmodel.models import Task, TaskCreate, TaskPublic, TaskUpdate
from fastapi_sqlmodel.security import CurrentUser

router = APIRouter(prefix="/api/{user_id}/tasks", tags=["tasks"])


# The token is checked before the session is made: dependencies run in their order.
async def get_own_task(id: UUID, current_user: CurrentUser, session: Session) -> Task:
    """Return the user's task; 404 if there is none, or if it is another's."""
    statement = select(Task).where(Task.id == id, Task.user_id == current_user)
    task = (await session.exec(statement)).one_or_none()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


OwnTask = Annotated[Task, Depends(get_own_task)]


@router.post("", status_code=201, response_model=TaskPublic)
async def create_task(body: TaskCreate, current_user: CurrentUser, session: Session) -> Task:
    """Create a task."""
    task = Task.model_validate(body, update={"user_id": current_user})
    session.add(task)
    # No refresh as in T030: RETURNING brings both times, and expire_on_commit=False keeps them.
    await session.commit()
    return task


@router.get("", response_model=list[TaskPublic])
async def list_tasks(
    current_user: CurrentUser,
    session: Session,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> list[Task]:
    """List the newest tasks."""
    statement = (
        select(Task)
        .where(Task.user_id == current_user)
        .order_by(Task.created_at.desc(), Task.id.desc())
        .limit(limit)
    )
    return (await session.exec(statement)).all()


@router.get("/{id}", response_model=TaskPublic)
async def get_task(task: OwnTask) -> Task:
    """Read one task."""
    return task


@router.put("/{id}", response_model=TaskPublic)
async def update_task(body: TaskUpdate, task: OwnTask, session: Session) -> Task:
    """Change the title and, where it is sent, the description."""
    task.sqlmodel_update(body.model_dump(exclude_unset=True))
    return await save(session, task)


@router.patch("/{id}/complete", response_model=TaskPublic)
async def complete_task(task: OwnTask, session: Session) -> Task:
    """Toggle `completed`."""
    task.completed = not task.completed
    return await save(session, task)


@router.delete("/{id}", status_code=204)
async def delete_task(task: OwnTask, session: Session) -> None:
    """Delete a task for good."""
    await session.delete(task)
    await session.commit()


async def save(session: Session, task: Task) -> Task:
    """Commit a change and read back `updated_at`, which a trigger makes (T055, T075)."""
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task
