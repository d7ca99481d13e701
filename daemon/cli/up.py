"""`axrad up`: all of it on this machine. `axrad flower`: the page that shows the tasks."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from config.load import load
from daemon import audit
from daemon.cli.options import config_option
from daemon.logs import set_up
from daemon.spool import check_usable


@click.command()
@config_option
@click.option("--flower", "with_flower", is_flag=True, help="Also Flower, on flower.host and flower.port.")
@click.option("--console", "with_console", is_flag=True, help="Also the console, on console.host and console.port.")
def up(config_path: Path | None, with_flower: bool, with_console: bool) -> None:
    """Start listener, workers, beat and, unless broker.url names one, a broker. Ctrl-C ends them in order."""
    from daemon.health.site_files import require_right
    from daemon.processes.supervisor import Supervisor, wait_for_port

    settings = load(config_path)
    set_up(settings.log, "up")
    if with_flower and not settings.flower.password:
        raise click.UsageError("--flower needs flower.password (or AXRAD_FLOWER__PASSWORD in the environment)")
    if with_console:
        from daemon.console.user_file import require_users

        require_users(settings)
    require_right(settings)
    check_usable(settings.spool.path, settings.spool.id)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervisor = Supervisor(settings, config_path, with_flower, console=with_console)
    listen = settings.listen

    def say_when_up() -> None:
        if wait_for_port(listen.host, listen.port, 30):
            click.echo(f"axrad listens as {listen.ae_title} at {listen.host}:{listen.port}; Ctrl-C ends it", err=True)
        if with_flower:
            click.echo(f"Flower: http://{settings.flower.host}:{settings.flower.port}", err=True)

        if with_console:
            scheme = "https" if settings.console.certificate else "http"
            click.echo(f"console: {scheme}://{settings.console.host}:{settings.console.port}", err=True)

    try:
        supervisor.start()
        threading.Thread(target=say_when_up, daemon=True).start()
        supervisor.watch(stop)
    finally:
        supervisor.stop()


@click.command()
@config_option
def flower(config_path: Path | None) -> None:
    """Flower, behind a password, on localhost unless told otherwise."""
    from daemon.broker.server import broker_url
    from daemon.machine.parent_watch import follow
    from daemon.processes.celery_app import make_app_in_time

    follow()
    settings = load(config_path)
    set_up(settings.log, "flower")
    if not settings.flower.password:
        raise click.UsageError("set flower.password (or AXRAD_FLOWER__PASSWORD in the environment)")
    app = make_app_in_time(settings, broker_url(settings))
    with audit.running(settings, "flower"):
        app.start(
            [
                "flower",
                f"--address={settings.flower.host}",
                f"--port={settings.flower.port}",
                f"--basic-auth={settings.flower.user}:{settings.flower.password}",
                "--tasks-columns=name,args,state,exception,received,runtime,worker,uuid",
                f"--read-only={settings.flower.read_only}",
                "--logging=WARNING",
            ]
        )
