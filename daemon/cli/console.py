"""`axrad console`: the pages in the browser. `axrad console user`: who may sign in."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option
from daemon.console.rights import ROLES, Role
from daemon.console.user_file import UserFile

role_option = click.option("--role", type=click.Choice(ROLES), required=True, help="What the user may see and do.")


@click.group(invoke_without_command=True)
@config_option
@click.pass_context
def console(context: click.Context, config_path: Path | None) -> None:
    """The pages in the browser, on console.host and console.port. Ctrl-C ends them."""
    if context.invoked_subcommand is not None:
        return
    from daemon import audit
    from daemon.cli.process_start import begin, stop_signals
    from daemon.console.application import serve

    settings, stop = begin(config_path, "console"), stop_signals()
    with audit.running(settings, "console"):
        serve(settings, config_path, stop)


@console.group()
def user() -> None:
    """Users of the console that are not of an identity provider."""


@user.command()
@click.argument("name")
@role_option
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the password from this file's first line, instead of asking for it.",
)  # fmt: skip
@config_option
@json_option
def add(name: str, role: Role, password_file: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Add the user NAME, or give one of this name a new password, role and secret.

    Prints the secret of the one-time codes, once: enter it into an authenticator (an app for TOTP) at once.
    """
    from daemon.console.passwords import address_of

    if password_file is not None:
        password = password_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    secret = _users(config_path, "add", f"{name} {role}").add(name, role, password)
    address = address_of(secret, name, "axrad")
    if as_json:
        click.echo(json.dumps({"user": name, "role": role, "secret": secret, "otpauth": address}))
        return
    click.echo(f"{name} may sign in as {role}, with password and one-time code")
    click.echo(f"secret of the codes, for an authenticator: {secret}\nthe same as an address: {address}")


@user.command("list")
@config_option
@json_option
def list_(config_path: Path | None, as_json: bool) -> None:
    """List the users and their roles."""
    users = _users(config_path).all()
    if as_json:
        click.echo(json.dumps({"users": [{"user": u.name, "role": u.role} for u in users.values()]}))
        return
    for one in users.values():
        click.echo(f"{one.name}  {one.role}")


@user.command()
@click.argument("name")
@config_option
def remove(name: str, config_path: Path | None) -> None:
    """Remove the user NAME; open sessions end."""
    _users(config_path, "remove", name).remove(name)
    click.echo(f"{name} is removed")


@user.command("role")
@click.argument("name")
@role_option
@config_option
def set_role(name: str, role: Role, config_path: Path | None) -> None:
    """Give the user NAME another role; open sessions end."""
    _users(config_path, "role", f"{name} {role}").set_role(name, role)
    click.echo(f"{name} is {role} from now on")


def _users(config_path: Path | None, change: str = "", detail: str = "") -> UserFile:
    """The file of users. A change is in the audit trail, as an attempt: before it is made."""
    from config.load import load
    from config.places import console_users
    from daemon import audit

    settings = load(config_path)
    if change:
        audit.operator_action(settings, "console-user", detail=f"{change} {detail}")
    return UserFile(console_users(settings))
