"""`axrad show STUDY --report`: what the newest report of a study says."""

from __future__ import annotations

from pathlib import Path

import click

from config.schema import Settings
from daemon.cli.wording import console, hanging
from daemon.ledger.rows import JsonObject
from pipeline.errors import InputRejected


def print_report(settings: Settings, study: JsonObject, as_json: bool) -> None:
    """`found`: the study's timeline. With `as_json` the result, which has every number; else the report's own text.

    Raises InputRejected where there is none.
    """
    folder = _newest(settings.spool.path / "results", study)
    if as_json:
        click.echo((folder / "result.json").read_text(encoding="utf-8"))
        return
    from dicom_sr.plain_text import report_text

    out = console()
    for line in report_text((folder / "sr.dcm").read_bytes()).splitlines():
        hanging(out, line)
    out.print(f"\nthe page for readers: {folder / 'page.pdf'}", soft_wrap=True)
    out.print(f"every number: axrad show {study['id']} --report --json", soft_wrap=True)


def _newest(results: Path, study: JsonObject) -> Path:
    for revision in reversed(study["revisions"]):
        folder = results / str(revision["id"])
        if (folder / "sr.dcm").is_file():
            return folder
    reason = study["reason"] or study["state"]
    raise InputRejected(f"study {study['id']} has no report on this machine: {reason}", code="no-report")
