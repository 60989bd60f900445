"""The tables as taskapi's migrations make them."""

import uuid

from django.db import models
from django.db.models.functions import Lower, Now

# email__lower: addresses are unique, and found by the index, without regard to case.
models.TextField.register_lookup(Lower)


class User(models.Model):
    """A row of users."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.TextField()
    password_hash = models.TextField(null=True)

    # What IsAuthenticated and the like ask of a user.
    is_authenticated = True

    class Meta:
        managed = False
        db_table = "users"


class Task(models.Model):
    """A row of tasks; the database makes both times."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    title = models.CharField(max_length=500)
    description = models.TextField(null=True)
    completed = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        db_table = "tasks"
        ordering = ["-created_at", "-id"]
