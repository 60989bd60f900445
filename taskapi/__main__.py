"""The commands: `python -m taskapi --help`."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import click

from taskapi import create_app, migrations, queries
from taskapi.config import ConfigError, load_config, load_database_url
from taskapi.exceptions import DatabaseUnavailable
from taskapi.migration_files import (
    MigrationError,
    checksum,
    create_migration,
    number_of,
    read_ids,
)
from taskapi.sql_files import MIGRATIONS_DIR


class MigrationNumber(click.ParamType[int]):
    """A migration's id, or its number; 0 stands before the first."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        ids = read_ids()
        if value in ids:
            return number_of(value)
        numbers = {0, *map(number_of, ids)}
        if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) not in numbers:
            self.fail(f"{value!r} is no migration of this release", param, ctx)
        return int(value)


def patience(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how long a migration waits for its locks."""
    timeout = click.option(
        "--lock-timeout",
        type=click.FloatRange(0.01, 3600),
        default=migrations.LOCK_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="How long a statement waits for a lock, and others wait behind it.",
    )
    tries = click.option(
        "--tries",
        type=click.IntRange(1, 10_000),
        default=migrations.TRIES,
        show_default=True,
        help="How often a migration is tried that doesn't get its lock; pauses double up to 30 s.",
    )
    return timeout(tries(command))


def report(line: str) -> None:
    """Tell the operator, apart from the command's result."""
    click.echo(line, err=True)


@click.group()
def cli() -> None:
    """Look after taskapi's database, the one that DATABASE_URL names."""


@cli.group()
def migrate() -> None:
    """Apply the migrations, undo them, tell how far the database is."""


@migrate.command()
def status() -> None:
    """List all migrations; exit with 1 unless each is applied as this release has it."""
    states = migrations.list_migrations(load_database_url())
    width = max((len(state.id) for state in states), default=0)
    for state in states:
        if state.applied_at is None:
            text = "pending"
        else:
            text = f"applied {state.applied_at:%Y-%m-%d %H:%M:%S} UTC by {state.applied_by}"
            if not state.released:
                text += ", unknown to this release"
            if state.changed:
                text += ", changed since"
        click.echo(f"{state.id:{width}}  {text}")
    if not all(state.applied_at and state.released and not state.changed for state in states):
        raise click.exceptions.Exit(1)


@migrate.command("apply")
@click.option("--to", type=MigrationNumber(), help="The last migration to apply: id or number.")
@click.option("--dry-run", is_flag=True, help="Print the SQL that would be run; change nothing.")
@patience
def apply_command(to: int | None, dry_run: bool, lock_timeout: float, tries: int) -> None:
    """Apply the migrations that the database lacks.

    Each runs in a transaction of its own, but for those that say `transactional: false`. Any
    number of processes may run this at once, and again after a kill.
    """
    url = load_database_url()
    if dry_run:
        for id in migrations.find_pending(url, to=to):
            click.echo(f"-- {id}\n{(MIGRATIONS_DIR / f'{id}.sql').read_text()}")
        return
    ids = migrations.apply_migrations(
        url, to=to, lock_timeout=lock_timeout, tries=tries, report=report
    )
    click.echo("\n".join(f"applied {id}" for id in ids) or "nothing to apply")


@migrate.command("rollback")
@click.option("--to", type=MigrationNumber(), help="The last migration that stays: id or number.")
@click.option("--all", "all_of_them", is_flag=True, help="Undo every migration.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@patience
def rollback_command(
    to: int | None, all_of_them: bool, yes: bool, lock_timeout: float, tries: int
) -> None:
    """Undo the last migration, or all after one, with all the data that they hold.

    Says first what would be run and lost, and asks.
    """

    def confirm(plan: list[migrations.Undoing]) -> None:
        for undoing in plan:
            report(f"{undoing.id} is undone by")
            for statement in undoing.statements:
                report(textwrap.indent(statement, "    "))
            for loss in undoing.losses:
                report(f"  which drops {loss}")
        if yes:
            return
        if not sys.stdin.isatty():
            raise MigrationError("nothing is rolled back without --yes, or a terminal to ask on")
        click.confirm("Roll back?", abort=True, err=True)

    if to is not None and all_of_them:
        raise click.UsageError("--to and --all exclude each other")
    ids = migrations.rollback_migrations(
        load_database_url(),
        None if all_of_them else 1,
        to=to,
        lock_timeout=lock_timeout,
        tries=tries,
        report=report,
        confirm=confirm,
    )
    click.echo("\n".join(f"rolled back {id}" for id in ids) or "nothing to roll back")


@migrate.command()
@click.argument("name")
def new(name: str) -> None:
    """Make the pair of files of a new migration, with the next number."""
    for path in create_migration(name):
        click.echo(path)


@migrate.command()
def checksums() -> None:
    """Print the migrations' checksums, for `migrations/checksums` at a release."""
    for id in read_ids():
        click.echo(f"{checksum(id)}  {id}.sql")


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
