"""Attack: an exam under the AE title of axrad's own health check, which logs, metrics and audit trail leave out."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from daemon.indexing.indexer import index_once
from daemon.ledger import open_ledger
from daemon.listener import own_probe
from daemon.network.health_title import HEALTH_AE_TITLE
from pipeline.catalog.facts import OUR_MANUFACTURER
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, mr_image
from tests.support.listening import Listening, listening, send

SCANNER = {"ae_title": "SCANNER"}
# As the container settings listed it: the title, from any address of a private network.
LISTED = {"ae_title": HEALTH_AE_TITLE, "networks": ["172.16.0.0/12", "127.0.0.0/8"]}


def stored(listener: Listening) -> list[Path]:
    return sorted(listener.root.rglob("*.dcm"))


def audited(listener: Listening) -> list[dict[str, Any]]:
    ledger = open_ledger(listener.settings)
    try:
        index_once(ledger, listener.spool, time.time(), listener.settings)
    finally:
        ledger.close()
    trail = listener.root.parent / "audit.jsonl"
    messages = [json.loads(line) for line in trail.read_text().splitlines()] if trail.exists() else []
    return [m for m in messages if m["ActiveParticipant"][0]["AlternativeUserID"] == f"AETITLES={HEALTH_AE_TITLE}"]


def probe(listener: Listening, data_set: Dataset, sop_class: str = own_probe.BASIC_TEXT_SR) -> int:
    association = listener.associate(ae_title=HEALTH_AE_TITLE, contexts=[(sop_class, EXPLICIT_LE)])
    try:
        return send(association, data_set)
    finally:
        association.release()


def genuine(listener: Listening) -> Dataset:
    return own_probe.data_set(own_probe.new_uid(own_probe.key_of(listener.root)))


@pytest.mark.peer("storescu")
@pytest.mark.parametrize("peers", [[], [SCANNER], [SCANNER, LISTED]], ids=["no-peers", "not-listed", "listed"])
def test_an_exam_under_the_title_of_the_health_check_is_refused_logged_and_audited(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], peers: list[dict[str, Any]]
) -> None:
    image = mr_image("1.2.3")
    image.ensure_file_meta()
    image.file_meta.TransferSyntaxUID = EXPLICIT_LE
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    with listening(tmp_path / "spool", peer=peers, log={"format": "json"}) as listener:
        titles = ["-aet", HEALTH_AE_TITLE, "-aec", "AXRAD"]
        told = subprocess.run(
            ["storescu", "-v", *titles, "127.0.0.1", str(listener.port), str(tmp_path / "image.dcm")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert re.search("0x0?124", told.stdout + told.stderr)
        assert stored(listener) == []
        (message,) = audited(listener)
    assert message["axrad"]["refused"] == {"not-authorised": 1}
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"event"' in line]
    assert {"instance refused", "association ended"} <= {line["event"] for line in logged}


def test_the_object_of_the_health_check_is_stored_and_told_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with listening(tmp_path / "spool", peer=[SCANNER], log={"format": "json"}) as listener:
        assert probe(listener, genuine(listener)) == 0
        assert len(stored(listener)) == 1
        assert audited(listener) == []
    assert HEALTH_AE_TITLE not in capfd.readouterr().err


def forged(listener: Listening, how: str) -> tuple[Dataset, str]:
    """What somebody may try who has read the source and listened on the line."""
    report, sop_class = genuine(listener), own_probe.BASIC_TEXT_SR
    if how == "another key":
        report = own_probe.data_set(own_probe.new_uid(b"\0" * own_probe.KEY_BYTES))
    elif how == "an old one":
        key = own_probe.key_of(listener.root)
        report = own_probe.data_set(own_probe.new_uid(key, time.time() - 2 * own_probe.FRESH_S))
    elif how == "a name in it":
        report.PatientName = "Secret^Person"
    elif how == "an exam under its UID":
        report, sop_class = mr_image(str(report.SOPInstanceUID)), MR_IMAGE
    elif how == "its bytes under another class":
        sop_class = MR_IMAGE
        report.SOPClassUID = MR_IMAGE
    elif how == "an exam behind it":
        report.PixelData = b"\1\2" * 100_000
        report["PixelData"].VR = "OW"
    return report, sop_class


@pytest.mark.parametrize(
    "how",
    [
        "another key", "an old one", "a name in it", "an exam under its UID", "its bytes under another class",
        "an exam behind it",
    ],
)  # fmt: skip
def test_what_is_made_to_look_like_the_probe_is_refused_and_audited(tmp_path: Path, how: str) -> None:
    with listening(tmp_path / "spool", peer=[SCANNER]) as listener:
        assert probe(listener, *forged(listener, how)) == 0x0124
        assert stored(listener) == []
        (message,) = audited(listener)
    assert message["axrad"]["refused"] == {"not-authorised": 1}


def test_a_probe_does_not_hide_what_else_its_association_brought(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contexts = [(own_probe.BASIC_TEXT_SR, EXPLICIT_LE), (MR_IMAGE, EXPLICIT_LE)]
    with listening(tmp_path / "spool", log={"format": "json"}) as listener:
        association = listener.associate(ae_title=HEALTH_AE_TITLE, contexts=contexts)
        assert send(association, genuine(listener)) == 0
        assert send(association, mr_image()) == 0x0124
        association.release()
        assert any((m.get("axrad") or {}).get("refused") for m in audited(listener))
    assert HEALTH_AE_TITLE in capfd.readouterr().err


def test_the_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    own_probe.key_of(tmp_path)
    assert (tmp_path / own_probe.KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert own_probe.key_of(tmp_path) == own_probe.key_of(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [own_probe.KEY_NAME]


def test_a_probe_counts_as_a_result_of_ours() -> None:
    assert own_probe.MANUFACTURER == OUR_MANUFACTURER
