"""The commands: `python -m taskapi --help`."""

from __future__ import annotations

import sys

import click

from taskapi import create_app, queries
from taskapi.config import ConfigError, load_config, load_database_url
from taskapi.exceptions import DatabaseUnavailable
from taskapi.migrations import MigrationError, apply_migrations, rollback_migrations


@click.group()
def cli() -> None:
    """Look after taskapi's database, the one that DATABASE_URL names."""


@cli.group()
def migrate() -> None:
    """Apply the migrations, or undo them."""


@migrate.command("apply")
def apply_command() -> None:
    """Apply all migrations that the database lacks."""
    ids = apply_migrations(load_database_url())
    click.echo("\n".join(f"applied {id}" for id in ids) or "nothing to apply")


@migrate.command("rollback")
@click.option("--all", "all_of_them", is_flag=True, help="Undo every migration.")
def rollback_command(all_of_them: bool) -> None:
    """Undo the last migration, with all the data that it holds."""
    ids = rollback_migrations(load_database_url(), None if all_of_them else 1)
    click.echo("\n".join(f"rolled back {id}" for id in ids) or "nothing to roll back")


@cli.command()
def purge() -> None:
    """Delete the idempotency keys that are older than 24 hours. Wants the service's variables."""
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


if __name__ == "__main__":
    try:
        cli(prog_name="python -m taskapi")
    except (ConfigError, DatabaseUnavailable, MigrationError) as error:
        sys.exit(f"taskapi: {error}")
