"""The commands that keep a database in order."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask import Flask

from taskapi.config import Config, load_config
from taskapi.operations import queries


@click.command()
@click.pass_obj
def purge(create_app: Callable[[Config], Flask]) -> None:
    """Delete idempotency keys older than 24 hours. Needs the service's variables."""
    app = create_app(load_config())
    database = app.extensions["taskapi.database"]
    database.open()
    total = 0
    try:
        with app.app_context():
            while deleted := queries.purge_idempotency_keys():
                total += deleted
    finally:
        database.close()
    click.echo(f"deleted {total} idempotency keys")
