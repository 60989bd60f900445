"""A user's tasks."""
