"""The commands that keep a database in order. They need the service's variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from flask import Flask

from taskapi.config import Config, load_config
from taskapi.operations import queries

CreateApp = Callable[[Config], Flask]


@click.command()
@click.pass_obj
def purge(create_app: CreateApp) -> None:
    """Delete what is not needed any more.

    That is idempotency keys older than 24 hours, traces of tasks that were deleted 30 days ago,
    closed accounts with their tasks, and revocations of tokens that have expired.
    """
    with open_database(create_app):
        for delete_some, what in (
            (queries.purge_idempotency_keys, "idempotency keys"),
            (queries.purge_deleted_tasks, "traces of deleted tasks"),
            (purge_closed_accounts, "closed accounts and their tasks"),
            (queries.purge_revocations, "revocations"),
        ):
            total = 0
            while deleted := delete_some():
                total += deleted
            click.echo(f"deleted {total} {what}")


def purge_closed_accounts() -> int:
    """Delete some of the closed accounts and their tasks. Returns how many rows."""
    return sum(queries.purge_closed_account(id=id) for id in queries.list_closed_accounts())


@click.command()
@click.pass_obj
def reset_feeds(create_app: CreateApp) -> None:
    """Make all tokens of the change feed invalid, after a restore or a loss of writes.

    Clients get 410, list all tasks and start over.
    """
    with open_database(create_app):
        queries.reset_feeds()
    click.echo("all tokens of the change feed that were issued until now are invalid")


@contextmanager
def open_database(create_app: CreateApp) -> Iterator[None]:
    """Let queries run in the block."""
    app = create_app(load_config())
    database = app.extensions["taskapi.database"]
    database.open()
    try:
        with app.app_context():
            yield
    finally:
        database.close()
