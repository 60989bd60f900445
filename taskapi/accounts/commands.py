"""The commands for operators that look after accounts. They need the service's variables."""

from __future__ import annotations

import logging

import click
from flask import g

from taskapi.accounts import queries
from taskapi.accounts.passwords import hash_password
from taskapi.accounts.queries import User
from taskapi.accounts.schemas import ChangePasswordSchema
from taskapi.exceptions import InvalidInput
from taskapi.operations.commands import CreateApp, open_database
from taskapi.web.payloads import load

logger = logging.getLogger("taskapi")

NEW_PASSWORD = ChangePasswordSchema(only=["new_password"])

email_argument = click.argument("email")
yes_option = click.option("--yes", is_flag=True, help="Don't ask before it is done.")


@click.group()
def accounts() -> None:
    """Look after the account of an email."""


@accounts.command()
@email_argument
@click.pass_obj
def show(create_app: CreateApp, email: str) -> None:
    """Show the account, and how many tasks it has."""
    with open_database(create_app):
        account = queries.get_account(user_id=_find(email)["id"])
        if account is None:
            raise click.ClickException("the account was closed just now")
        for name in ("id", "email", "created_at", "tasks"):
            click.echo(f"{name}: {account[name]}")


@accounts.command("reset-password")
@email_argument
@yes_option
@click.pass_obj
def reset_password(create_app: CreateApp, email: str, yes: bool) -> None:
    """Set a new password, which is asked for, and revoke all tokens."""
    with open_database(create_app):
        user = _find(email)
        _confirm(yes, f"Replace the password of {user['email']}, and revoke all tokens?")
        password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
        try:
            load(NEW_PASSWORD, {"new_password": password})
        except InvalidInput as error:
            raise click.ClickException(f"the password: {error.faults[0]['msg']}") from error
        new_hash = hash_password(password)
        if queries.change_password(email=email, old_hash=None, new_hash=new_hash) is None:
            raise click.ClickException("the account belongs to an identity provider")
        _report("password reset", user)


@accounts.command("revoke-tokens")
@email_argument
@yes_option
@click.pass_obj
def revoke_tokens(create_app: CreateApp, email: str, yes: bool) -> None:
    """Make all tokens invalid that were issued until now."""
    with open_database(create_app):
        user = _find(email)
        _confirm(yes, f"Log {user['email']} out everywhere?")
        queries.revoke_tokens(user_id=user["id"])
        _report("tokens revoked", user)


@accounts.command()
@email_argument
@yes_option
@click.pass_obj
def delete(create_app: CreateApp, email: str, yes: bool) -> None:
    """Close the account at once. `purge` deletes it and its tasks."""
    with open_database(create_app):
        user = _find(email)
        _confirm(yes, f"Delete {user['email']} and all tasks? There is no way back.")
        if not queries.close_account(id=user["id"], email=email, old_hash=None):
            raise click.ClickException("the account was closed just now")
        _report("account closed", user)


def _find(email: str) -> User:
    """Return the account, as whose user the next queries may act."""
    user = queries.find_account(email=email)
    if user is None:
        raise click.ClickException("no account has this email")
    # An operator has no token that could have been revoked.
    g.issued_at = float("inf")
    return user


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _report(what: str, user: User) -> None:
    # The id only: the log is kept for longer than an email may be.
    logger.warning("An operator: %s, user_id %s", what, user["id"])
    click.echo(f"{what}: {user['id']}")
