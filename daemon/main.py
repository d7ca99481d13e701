"""`axrad`: the command line. A command is loaded only when asked for: listening never loads the science."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import TextIO

import click

# command: module in daemon.cli that has a click command (or group) of that name, with "-" as "_"
COMMANDS = {
    "demo": "demo",
    "up": "up",
    "flower": "up",
    "console": "console",
    "listen": "processes",
    "work": "processes",
    "beat": "processes",
    "observe": "processes",
    "status": "ledger",
    "studies": "ledger",
    "show": "ledger",
    "refused": "refused",
    "audit": "audit",
    "retry": "ledger",
    "deliver": "deliver",
    "accept": "accept",
    "reject": "accept",
    "choose": "choose",
    "cancel": "ledger",
    "prioritise": "ledger",
    "feedback": "feedback",
    "fetch": "fetch",
    "backup": "backup",
    "restore": "backup",
    "site-key": "site_key",
    "spools": "spools",
    "ingest": "ingest",
    "run": "run",
    "match": "match",
    "roi": "roi",
    "propose": "propose",
    "bias": "bias",
    "extract": "extract",
    "signature": "signature",
    "reproduce": "reproduce",
    "cohort": "cohort",
    "phantom": "phantom",
    "check-sr": "check_sr",
    "doctor": "doctor",
}


# These write what a user asked for, where he asked for it, with his umask; what all others write is the daemon's.
FOR_THE_USER = {
    "demo",
    "run",
    "match",
    "roi",
    "propose",
    "bias",
    "extract",
    "signature",
    "reproduce",
    "cohort",
    "phantom",
    "check-sr",
}

# Where the name of a command is also the name of a module that it uses.
ATTRIBUTES = {"studies": "studies_command"}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"daemon.cli.{COMMANDS[name]}")
        command = getattr(module, ATTRIBUTES.get(name, name.replace("-", "_")))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="axrad")
@click.pass_context
def cli(context: click.Context) -> None:
    """Breast MRI in, a DICOM Structured Report on axillary lymph node metastasis out."""
    if context.invoked_subcommand not in FOR_THE_USER:
        from daemon.machine.private_files import private_files

        context.with_resource(private_files())


def main() -> None:
    """Exit 0 done, 1 the exam or input was rejected, 2 wrong usage, 3 a peer could not be reached."""
    from config.load import ConfigError
    from pipeline.errors import AxradError, TryLater

    try:
        _run()
    except ConfigError as error:
        click.echo(f"axrad: {error}", err=True)
        sys.exit(2)
    except TryLater as error:
        click.echo(f"axrad: {error.message}", err=True)
        sys.exit(3)
    except AxradError as error:
        click.echo(f"axrad: {error.message}", err=True)
        sys.exit(1)
    except OSError as error:
        _discard_stdout(sys.__stdout__)
        click.echo(f"axrad: {_sentence_of(error)}", err=True)
        sys.exit(1)


def _run() -> None:
    """Run the command and flush its output. Output that cannot be written is an error with a message of ours."""
    before = sys.stdout
    try:
        cli.main(standalone_mode=True)
    except SystemExit as ended:
        if ended.code == 1 and sys.stdout is not before:
            # Click's way with a closed pipe: it ends at once and says nothing.
            sys.stdout, sys.stderr = before, sys.__stderr__
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        if before is not None:
            before.flush()
        raise


def _discard_stdout(stream: TextIO | None) -> None:
    """Send the rest of the buffer to the null device: the interpreter would try to write it again at its end."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _sentence_of(error: OSError) -> str:
    """A file, a folder or the output that cannot be used, as a sentence."""
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {why}" if error.filename else f"the output cannot be written: {why}"
