"""The commands `python -m taskapi migrate …`."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import click

from taskapi.config import ConfigError, load_database_url, load_identity_keys
from taskapi.database.statements import MIGRATIONS_DIR
from taskapi.migrate import run
from taskapi.migrate.files import (
    MigrationError,
    checksum,
    create_migration,
    number_of,
    read_ids,
)


class MigrationNumber(click.ParamType[int]):
    """A migration's id or number. 0 stands for the state before the first."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        ids = read_ids()
        if value in ids:
            return number_of(value)
        numbers = {0, *map(number_of, ids)}
        if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) not in numbers:
            self.fail(f"{value!r} is not a migration of this release", param, ctx)
        return int(value)


def lock_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how long a migration waits for its locks."""
    timeout = click.option(
        "--lock-timeout",
        type=click.FloatRange(0.01, 3600),
        default=run.LOCK_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="How long a statement waits for a lock. Other sessions wait behind it.",
    )
    tries = click.option(
        "--tries",
        type=click.IntRange(1, 10_000),
        default=run.TRIES,
        show_default=True,
        help="How often to try a migration that gets no lock. Pauses double, up to 30 s.",
    )
    return timeout(tries(command))


def report(line: str) -> None:
    """Print progress on standard error, apart from the command's result."""
    click.echo(line, err=True)


@click.group()
def migrate() -> None:
    """Apply migrations, roll them back, show their status."""


@migrate.command()
def status() -> None:
    """List all migrations. Exits with 1 unless all are applied as this release has them."""
    states = run.list_migrations(load_database_url())
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


@migrate.command()
@click.option("--to", type=MigrationNumber(), help="The last migration to apply: id or number.")
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run. Change nothing.")
@click.option(
    "--require-signatures",
    is_flag=True,
    help="Accept only identities that are signed with this environment's keys from now on.",
)
@lock_options
def apply(
    to: int | None, dry_run: bool, require_signatures: bool, lock_timeout: float, tries: int
) -> None:
    """Apply the pending migrations.

    Each runs in a transaction of its own, except those marked `transactional: false`. Several
    processes may run this at once, and it may be run again after a kill. Adds the key of
    DB_IDENTITY_KEY, or else of JWT_SECRET, with which the service signs its identities.
    """
    url, keys = load_database_url(), load_identity_keys()
    if require_signatures and not keys:
        raise ConfigError("DB_IDENTITY_KEY is not set: give the service's, or its JWT_SECRET")
    if dry_run:
        for id in run.find_pending(url, to=to):
            click.echo(f"-- {id}\n{(MIGRATIONS_DIR / f'{id}.sql').read_text()}")
        return
    ids = run.apply_migrations(
        url,
        to=to,
        lock_timeout=lock_timeout,
        tries=tries,
        report=report,
        keys=keys,
        require_signatures=require_signatures,
    )
    click.echo("\n".join(f"applied {id}" for id in ids) or "nothing to apply")


@migrate.command()
@click.option("--to", type=MigrationNumber(), help="The last migration to keep: id or number.")
@click.option("--all", "all_of_them", is_flag=True, help="Roll back every migration.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@lock_options
def rollback(to: int | None, all_of_them: bool, yes: bool, lock_timeout: float, tries: int) -> None:
    """Roll back the last migration, or all after one, with the data that they hold.

    Prints what would run and what would be lost, and asks first.
    """

    def confirm(steps: list[run.RollbackStep]) -> None:
        for step in steps:
            report(f"{step.id} is rolled back by")
            for statement in step.statements:
                report(textwrap.indent(statement, "    "))
            for loss in step.losses:
                report(f"  which drops {loss}")
        if yes:
            return
        if not sys.stdin.isatty():
            raise MigrationError("nothing is rolled back without --yes, or a terminal to ask on")
        click.confirm("Roll back?", abort=True, err=True)

    if to is not None and all_of_them:
        raise click.UsageError("--to and --all exclude each other")
    ids = run.rollback_migrations(
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
    """Create the two files of a new migration, with the next number."""
    for path in create_migration(name):
        click.echo(path)


@migrate.command()
def checksums() -> None:
    """Print the migrations' checksums, for `migrations/checksums` at a release."""
    for id in read_ids():
        click.echo(f"{checksum(id)}  {id}.sql")
