"""The tables as taskapi's migrations make them, and what goes in and out as JSON."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import StrictBool, StringConstraints
from sqlalchemy import DateTime, func
from sqlmodel import Field, SQLModel

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Description = Annotated[str, StringConstraints(max_length=10_000)]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]


class User(SQLModel, table=True):
    """A row of users."""

    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    email: str
    password_hash: str | None


class Task(SQLModel, table=True):
    """A row of tasks; the database makes both times."""

    __tablename__ = "tasks"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", index=True)
    title: str
    description: str | None = None
    completed: bool = False
    created_at: datetime | None = Field(
        default=None,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": func.now()},
    )
    updated_at: datetime | None = Field(
        default=None,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": func.now()},
    )


class TaskCreate(SQLModel):
    """The body of POST."""

    title: Title
    description: Description | None = None
    completed: StrictBool = False


class TaskUpdate(SQLModel):
    """The body of PUT; a description that is left out is unchanged."""

    title: Title
    description: Description | None = None


class TaskPublic(SQLModel):
    """A task as clients see it."""

    id: UUID
    user_id: UUID
    title: str
    description: str | None
    completed: bool
    created_at: datetime
    updated_at: datetime


class Signup(SQLModel):
    """The body of sign-up."""

    email: Email
    password: Password


class Login(SQLModel):
    """The body of login."""

    email: str
    password: str


class Account(SQLModel):
    """The answer to sign-up."""

    user_id: UUID
    email: str


class AccountWithToken(Account):
    """The answer to login."""

    token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
