"""The command line: `python -m taskapi --help`."""

from __future__ import annotations

import sys

import click

from taskapi import create_app
from taskapi.accounts.commands import accounts
from taskapi.config import ConfigError
from taskapi.exceptions import DatabaseUnavailable
from taskapi.migrate.commands import migrate
from taskapi.migrate.files import MigrationError
from taskapi.operations.commands import purge, reset_feeds


@click.group()
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Maintain the database that DATABASE_URL names."""
    ctx.obj = create_app


cli.add_command(accounts)
cli.add_command(migrate)
cli.add_command(purge)
cli.add_command(reset_feeds)


if __name__ == "__main__":
    try:
        cli(prog_name="python -m taskapi")
    except (ConfigError, DatabaseUnavailable, MigrationError) as error:
        sys.exit(f"taskapi: {error}")
