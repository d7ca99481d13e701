"""`axrad check-sr`: is a report right, and does it say what the result says?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option


@click.command("check-sr")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--result",
    "result_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The result.json that the report was made from: every number is held against it.",
)
@click.option(
    "--source",
    "source_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An image of the exam: patient and study are held against it, in a character_set of a [[peer]] if need be.",
)
@config_option
@json_option
def check_sr(
    file: Path, result_path: Path | None, source_path: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Read the report FILE back: every number, every reference, every code, and whose it is."""
    from pydantic import ValidationError

    from config.load import load
    from dicom_sr.checks.content import check_report
    from dicom_sr.checks.identity import check_identity
    from dicom_sr.report_source import read_header
    from pipeline.errors import InputRejected, ReportRejected
    from pipeline.result import StudyResult

    result = None
    if result_path is not None:
        try:
            result = StudyResult.from_json(result_path.read_bytes())
        except ValidationError as error:
            raise InputRejected(f"{result_path.name} is no result of schema axrad.result/1") from error
    findings = check_report(file.read_bytes(), result)
    if source_path is not None:
        senders = [peer.character_set for peer in load(config_path, writes=False).peer if peer.character_set]
        findings += check_identity(file.read_bytes(), read_header(source_path), senders)
    if as_json:
        click.echo(json.dumps({"ok": not findings, "findings": [dataclasses.asdict(f) for f in findings]}))
    else:
        for finding in findings:
            click.echo(f"{finding.code}: {finding}")
        if not findings:
            click.echo("the report is right" + (" and agrees with the result" if result is not None else ""))
    if findings:
        raise ReportRejected(f"the report has {len(findings)} finding{'s' if len(findings) > 1 else ''}")
