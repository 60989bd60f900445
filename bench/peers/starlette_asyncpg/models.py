"""What clients send."""

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool, StringConstraints

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Description = Annotated[str, StringConstraints(max_length=10_000)]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]


class TaskCreate(BaseModel):
    """The body of POST."""

    title: Title
    description: Description | None = None
    completed: StrictBool = False


class TaskUpdate(BaseModel):
    """The body of PUT; a description that is left out is unchanged."""

    title: Title
    description: Description | None = None


class Page(BaseModel):
    """The query of a list."""

    limit: int = Field(default=1000, ge=1, le=1000)


class Signup(BaseModel):
    """The body of sign-up."""

    email: Email
    password: Password


class Login(BaseModel):
    """The body of login."""

    email: str
    password: str
