"""`axrad doctor`: one line per check, green, yellow or red, with what to do about it."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.markup import escape

from config.load import load
from config.schema import Settings
from daemon import audit
from daemon.cli.options import config_option, json_option
from daemon.finding import Finding, Level, briefly
from pipeline.errors import AxradError, InputRejected, TryLater

if TYPE_CHECKING:
    from daemon.ledger import Ledger
    from daemon.observer.traffic_probes import Health

MARKS: dict[Level, str] = {"ok": "[green]ok  [/]", "warn": "[yellow]LOOK[/]", "fail": "[red]BAD [/]"}


@click.command()
@config_option
@json_option
@click.option("--destination", metavar="NAME", help="Ask this destination alone.")
def doctor(config_path: Path | None, as_json: bool, destination: str | None) -> None:
    """Everything that axrad needs, asked once as it is used. Exit 3 if something needs attention."""
    settings = load(config_path)
    findings = list(examine(settings) if destination is None else _destination(settings, destination))
    if as_json:
        lines = [{"part": shown(f), "ok": f.ok, **asdict(f)} for f in findings]
        click.echo(json.dumps({"ok": all(f.ok for f in findings), "lines": lines}))
    else:
        console = Console(width=100, highlight=False)
        for finding in findings:
            remedy = f" → {finding.remedy}" if not finding.ok and finding.remedy else ""
            console.print(f"{MARKS[finding.level]} {shown(finding):<15} {escape(finding.text + remedy)}")
    if not all(f.ok for f in findings):
        raise TryLater("something above needs attention", code="doctor")


def _destination(settings: Settings, name: str) -> Iterator[Finding]:
    from daemon.health.peers import ask_destination

    chosen = next((d for d in settings.destination if d.name == name), None)
    if chosen is None:
        known = ", ".join(d.name for d in settings.destination) or "there is none"
        raise InputRejected(f"no [[destination]] is named {name}; those that there are: {known}")
    audit.operator_action(settings, "test-destination", detail=name)
    yield from ask_destination(chosen, settings)


def shown(finding: Finding) -> str:
    return f"{finding.code} {finding.subject}".strip()


def examine(settings: Settings) -> Iterator[Finding]:
    """Every line, in the order in which things depend on each other."""
    from daemon.health import (
        admission_checks,
        installation_checks,
        report_language,
        share_checks,
        signature_checks,
        standing_checks,
        tls_dates,
    )
    from daemon.health.file_modes import file_modes
    from daemon.health.limits import examine as limits
    from daemon.health.peers import ask_destination
    from daemon.health.tallies_check import tallied
    from daemon.ledger.engine import bare_ledger
    from daemon.listener import state
    from daemon.observer.traffic_probes import Health

    listener, now = state(settings), time.time()
    yield _versions()
    yield from installation_checks.examine(settings)
    yield file_modes(settings)
    yield from (f for f in standing_checks.of_machine(settings, listener, now) if f.code in ("disk", "inodes", "rules"))
    of_ledger = guarded("ledger", lambda: _ledger(settings), "look at ledger.url and at the database")
    yield of_ledger
    of_broker = guarded("broker", lambda: _broker(settings), "")  # what ails a broker says what to do about it
    yield of_broker
    ledger = bare_ledger(settings) if of_ledger.ok else None
    try:
        if ledger is not None and of_broker.ok:
            yield _neighbours(settings, ledger)
        yield guarded("listener", lambda: _listener(settings), "start `axrad up` or `axrad listen`")
        yield from tls_dates.examine(settings, now)
        yield from admission_checks.examine(settings)
        yield from share_checks.examine(settings)
        yield standing_checks.indexing(settings, now)
        if ledger is not None:
            health = Health(settings, ledger, lambda: _broker_url(settings)) if of_broker.ok else None
            with ledger.read() as connection:
                working = [f for f in standing_checks.of_ledger(connection, settings, now) if f.code != "destination"]
                counts = tallied(connection)
            yield from _working(working, health)
            yield counts
        yield from limits(settings, ledger, listener)
    except AxradError as error:
        yield Finding("ledger", "fail", error.message)
    finally:
        if ledger is not None:
            ledger.close()
    for destination in settings.destination:
        yield from ask_destination(destination, settings)
    yield from report_language.examine(settings)
    if not settings.destination:
        yield Finding("destinations", "fail", "no [[destination]] is configured: results stay here", "add one")
    yield guarded("signature", lambda: _signature(settings), "see `axrad signature list`")
    yield from signature_checks.examine(settings)
    yield _fonts()


def guarded(code: str, check: Callable[[], str], remedy: str, subject: str = "") -> Finding:
    """What the check says, or why it fails, whatever the way."""
    try:
        return Finding(code, "ok", check(), subject=subject)
    except AxradError as error:
        return Finding(code, "fail", error.message, remedy, subject)
    except Exception as error:  # noqa: BLE001 - one check must not keep the others from being shown
        return Finding(code, "fail", f"the check failed in an unforeseen way ({type(error).__name__})", remedy, subject)


def _versions() -> Finding:
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
    text = ", ".join(f"{name} {_version(name)}" for name in names)
    right = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding(
        "versions",
        "ok" if right else "fail",
        f"Python {sys.version.split()[0]}, {text}",
        "" if right else "use Python 3.11, 3.12 or 3.13",
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _ledger(settings: Settings) -> str:
    from daemon.ledger import existing_ledger, views

    with closing(existing_ledger(settings)) as ledger, ledger.read() as connection:
        result = views.counts(connection, 0.0)
    return f"{ledger.engine.dialect.name}, {sum(s['count'] for s in result['studies'].values())} studies"


def _broker_url(settings: Settings) -> str:
    from daemon.broker.server import broker_url

    return broker_url(settings)


def _broker(settings: Settings) -> str:
    from daemon.broker.redis_client import usable

    result = usable(_broker_url(settings))
    if result.policy not in ("noeviction", ""):
        raise TryLater(f"the broker drops messages when full (maxmemory-policy {result.policy}); set noeviction")
    where = "configured" if settings.broker.url else "embedded"
    return f"{where}, version {result.version or 'unknown'}, {result.policy or 'does not tell its maxmemory-policy'}"


def _neighbours(settings: Settings, ledger: Ledger) -> Finding:
    """Others on the broker's database. Prefixes keep them apart; memory and FLUSHDB are shared."""
    from daemon.broker.foreign_keys import foreign_keys_at
    from daemon.ledger import installation

    try:
        result = foreign_keys_at(_broker_url(settings), installation.prefix_of(ledger))
    except AxradError as error:
        return Finding("neighbours", "fail", error.message)
    descriptions, remedies = list(result.others), []
    if result.others:
        remedies.append("give each a database of its own (the number at the end of broker.url)")
    if result.old_keys:
        descriptions.append(f"what an axrad before 0.2.0 left (keys: {len(result.old_keys)})")
        number = (urlsplit(_broker_url(settings)).path.strip("/") or "0") if settings.broker.url else "0"
        keys = " ".join(shlex.quote(key) for key in result.old_keys)
        remedies.append(
            "once no machine runs that version any more, nobody needs these keys, since the ledger knows what they "
            f"said; this deletes them: `redis-cli -n {number if number.isdigit() else 0} DEL {keys}`"
        )
    if not descriptions:
        return Finding("neighbours", "ok", "nobody else uses the broker's database")
    text = f"on the broker's database there is also {' and '.join(descriptions)}"
    return Finding("neighbours", "warn", text, "; ".join(remedies), value=len(descriptions))


def _listener(settings: Settings) -> str:
    """A C-ECHO as a modality would send it."""
    from daemon.health.roundtrip import echo

    echo(settings)
    listen = settings.listen
    limits = (
        f"at most {listen.max_associations} associations, {listen.max_associations_per_peer} per peer, "
        f"PDU {listen.max_pdu // 1024} KiB"
    )
    return f"{listen.ae_title} at {listen.host}:{listen.port}; {limits}; durability {listen.durability}"


def _working(known: list[Finding], health: Health | None) -> Iterator[Finding]:
    """Sweep, beat and workers by the ledger's word; a queue that has workers is sent a task as well."""
    queues = [f"queue-{f.subject}" for f in known if f.code == "workers" and f.ok and (f.value or f.subject == "sweep")]
    returned = {c.finding.subject: c.finding for c in health.ask(queues)} if health is not None else {}
    for finding in known:
        answer = returned.get(finding.subject) if finding.code == "workers" else None
        if answer is None:
            yield finding
        elif answer.ok:
            yield replace(finding, text=f"{finding.text}; {answer.text}")
        else:
            yield replace(finding, level="fail", text=answer.text, remedy=f"restart `axrad work` of {finding.subject}")


def _signature(settings: Settings) -> str:
    from pipeline.analysis.signatures_in_use import Signatures
    from pipeline.signature.coverage import coverage

    signatures = Signatures.from_settings(settings.signature)
    words = briefly([s.header.title for s in signatures.known])
    demonstration = " (demonstration, not for clinical use)" if signatures.demonstration else ""
    odd = briefly([s.header.title for s in signatures.at_odds(settings)])
    apart = f"; trained with other extraction settings than the first, so abstains: {odd}" if odd else ""
    return f"{words}{demonstration}; answers exams with {coverage(s.inputs for s in signatures.order)}{apart}"


def _fonts() -> Finding:
    from pipeline.pictures.fonts import PACKAGES, SCRIPTS, missing_scripts

    missing = missing_scripts()
    if not missing:
        return Finding("fonts", "ok", f"names in {', '.join(SCRIPTS)} can be drawn on the page")
    level: Level = "fail" if "Chinese" in missing else "warn"
    return Finding("fonts", level, f"no font here draws {', '.join(missing)} names", f"apt-get install {PACKAGES}")
