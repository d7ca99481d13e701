"""`axrad show STUDY --report`: what the newest report of a study says."""

from __future__ import annotations

from pathlib import Path

import click

from config.schema import Settings
from daemon.cli.wording import console, hanging
from daemon.ledger import Ledger
from daemon.ledger.rows import JsonObject
from daemon.ledger.spools import home_in
from daemon.share.exam_files import Files
from daemon.share.spool_files import files_of
from pipeline.errors import InputRejected


def print_report(settings: Settings, ledger: Ledger, study: JsonObject, as_json: bool) -> None:
    """`found`: the study's timeline. With `as_json` the result, which has every number; else the report's own text.

    Raises InputRejected where there is none.
    """
    files = files_of(settings, home_in(ledger))
    revision_id, report = _newest(files, study)
    if as_json:
        click.echo(_there(files.get(revision_id, "result.json")).read_text(encoding="utf-8"))
        return
    from dicom_sr.plain_text import report_text

    out = console()
    for line in report_text(report.read_bytes()).splitlines():
        hanging(out, line)
    page = _there(files.get(revision_id, "page.pdf"))
    out.print(f"\nthe page for readers: {page}", soft_wrap=True)
    out.print(f"every number: axrad show {study['id']} --report --json", soft_wrap=True)


def _there(path: Path | None) -> Path:
    if path is None:
        raise InputRejected("a file of the newest report is gone", code="no-report")
    return path


def _newest(files: Files, study: JsonObject) -> tuple[str, Path]:
    """Its revision and its report."""
    for revision in reversed(study["revisions"]):
        if (path := files.get(str(revision["id"]), "sr.dcm")) is not None:
            return str(revision["id"]), path
    reason = study["reason"] or study["state"]
    raise InputRejected(f"study {study['id']} has no report on this machine: {reason}", code="no-report")
