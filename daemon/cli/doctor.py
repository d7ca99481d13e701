"""`axrad doctor`: one line per part, red or green, with what to do about red."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from config.load import load
from config.schema import Settings
from daemon.cli.options import config_option, json_option
from pipeline.errors import AxradError, TryLater


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `remedy` says what to do when it is not ok."""

    part: str
    ok: bool
    text: str
    remedy: str = ""


@click.command()
@config_option
@json_option
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Versions, disk, broker, ledger, listener, destinations, signature. Exit 3 if something is red."""
    settings = load(config_path)
    lines = list(examine(settings))
    if as_json:
        click.echo(json.dumps({"ok": all(line.ok for line in lines), "lines": [asdict(line) for line in lines]}))
    else:
        console = Console(width=100, highlight=False)
        for line in lines:
            mark = "[green]ok [/]" if line.ok else "[red]BAD[/]"
            remedy = f" → {line.remedy}" if not line.ok else ""
            console.print(f"{mark} {line.part:<13} {escape(line.text + remedy)}")
    if not all(line.ok for line in lines):
        raise TryLater("something above needs attention", code="doctor")


def examine(settings: Settings) -> Iterator[Line]:
    """Every line, in the order in which things depend on each other."""
    yield _versions()
    yield from _disk(settings)
    yield _guarded("ledger", lambda: _ledger(settings), "is ledger.url right, is the database up?")
    yield _guarded("broker", lambda: _broker(settings), "start `axrad up`, or set broker.url to a Redis that runs")
    yield _listener(settings)
    yield _who_may_send(settings)
    yield from _limits(settings)
    for destination in settings.destination:
        name = f"to {destination.name}"
        yield _guarded(name, lambda d=destination: _destination(settings, d), "is it up, does it know our AE title?")  # type: ignore[misc]
    if not settings.destination:
        yield Line("destinations", False, "no [[destination]] is configured: results stay here", "add one")
    yield _guarded("signature", lambda: _signature(settings), "see `axrad signature list`")
    yield _fonts()


def _guarded(part: str, check: Callable[[], str], remedy: str) -> Line:
    try:
        return Line(part, True, check())
    except AxradError as error:
        return Line(part, False, error.message, remedy)


def _versions() -> Line:
    names = (
        "axrad",
        "pynetdicom",
        "pydicom",
        "highdicom",
        "simpleitk",
        "pyradiomics",
        "scikit-learn",
        "celery",
        "redis",
    )
    text = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return Line(
        "versions", sys.version_info[:2] == (3, 11), f"Python {sys.version.split()[0]}, {text}", "use Python 3.11"
    )


def _disk(settings: Settings) -> Iterator[Line]:
    folder = settings.spool.path
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    gib = 1024**3
    ok = free > settings.spool.warn_free_bytes
    text = (
        f"{free / gib:.1f} GiB free for the spool; warned below {settings.spool.warn_free_bytes / gib:.1f}, "
        f"senders are asked to wait below {settings.spool.refuse_free_bytes / gib:.1f}"
    )
    yield Line("disk", ok, text, "make room, or lower retention.keep_days")


def _ledger(settings: Settings) -> str:
    from daemon.ledger import open_ledger, views

    ledger = open_ledger(settings)
    with ledger.read() as connection:
        found = views.counts(connection, 0.0)
    kind = ledger.engine.dialect.name
    ledger.close()
    return f"{kind}, {sum(s['count'] for s in found['studies'].values())} studies"


def _broker(settings: Settings) -> str:
    from daemon.broker import broker_url, ping

    found = ping(broker_url(settings))
    if found["policy"] != "noeviction":
        raise TryLater(f"the broker drops messages when full (maxmemory-policy {found['policy']}); set noeviction")
    where = "configured" if settings.broker.url else "embedded"
    return f"{where}, version {found['version']}, noeviction"


def _listener(settings: Settings) -> Line:
    listen = settings.listen
    host = "127.0.0.1" if listen.host in ("", "0.0.0.0") else listen.host
    try:
        with socket.create_connection((host, listen.port), timeout=2):
            pass
    except OSError:
        return Line("listener", False, f"nobody listens at {host}:{listen.port}", "start `axrad up` or `axrad listen`")
    limits = (
        f"at most {listen.max_associations} associations, {listen.max_associations_per_peer} per peer, "
        f"PDU {listen.max_pdu // 1024} KiB"
    )
    text = f"{listen.ae_title} at {host}:{listen.port}; {limits}; durability {listen.durability}"
    return Line("listener", True, text)


def _limits(settings: Settings) -> Iterator[Line]:
    """How close each limit is. A ledger that is away has its own line."""
    from daemon.health.limits import examine as examine_limits
    from daemon.ledger import open_ledger
    from daemon.listener import state

    try:
        ledger = open_ledger(settings)
    except AxradError:
        ledger = None
    try:
        found = examine_limits(settings, ledger, state(settings))
    except AxradError:
        found = []
    finally:
        if ledger is not None:
            ledger.close()
    for limit in found:
        yield Line(limit.part, not limit.near, limit.text, limit.remedy)


def _who_may_send(settings: Settings) -> Line:
    if settings.peer:
        return Line("peers", True, f"{len(settings.peer)} may send: {', '.join(p.ae_title for p in settings.peer)}")
    return Line("peers", True, "no [[peer]] is listed: only this machine may send")


def _destination(settings: Settings, destination: object) -> str:
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]

    from config.schema import Destination
    from daemon.export.peer import address_of, associated

    assert isinstance(destination, Destination)
    address = address_of(destination, settings)
    with associated(address, [(str(Verification), ["1.2.840.10008.1.2"])]) as association:
        status = association.send_c_echo()
    if getattr(status, "Status", None) != 0:
        raise TryLater(f"{address.name} does not answer C-ECHO")
    return f"{address.ae_title} at {address.host}:{address.port} answers C-ECHO; proof of delivery: {destination.proof}"


def _signature(settings: Settings) -> str:
    from pipeline.signatures import Signatures

    signatures = Signatures.from_settings(settings.signature)
    words = ", ".join(s.header.title for s in signatures.known)
    return words + (" (demonstration, not for clinical use)" if signatures.demonstration else "")


def _fonts() -> Line:
    import matplotlib.font_manager as fonts

    names = {f.name for f in fonts.fontManager.ttflist}
    chinese = sorted(n for n in names if "CJK" in n or "Droid Sans Fallback" in n or "WenQuanYi" in n)
    if chinese:
        return Line("fonts", True, f"Chinese names are drawn with {chinese[0]}")
    return Line("fonts", False, "no font with Chinese characters", "apt-get install fonts-droid-fallback")
