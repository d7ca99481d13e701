"""Attack: a peer that is let in does what it may not: other modalities, other services, another called AE title."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from daemon.health import admission_checks
from daemon.listener.contexts import COMMITMENT, COMMITMENT_INSTANCE
from tests.support.dimse import EXPLICIT_LE, IMPLICIT_LE, MR_IMAGE, mr_image
from tests.support.listening import VERIFICATION, Listening, listening, send

SEG, SC = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.7"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
EVERYTHING = [(uid, EXPLICIT_LE) for uid in (MR_IMAGE, SEG, SC, VERIFICATION, COMMITMENT)]


def peer(**keys: Any) -> dict[str, Any]:
    return {"ae_title": "SCANNER", "networks": ["127.0.0.0/8"], **keys}


def instance(sop_class: str, modality: str | None) -> Dataset:
    image = mr_image(generate_uid(), sop_class_uid=sop_class)
    if modality is None:
        del image.Modality
    else:
        image.Modality = modality
    return image


def trail(listener: Listening) -> list[dict[str, Any]]:
    """Security alerts on SCANNER."""
    path = listener.root.parent / "audit.jsonl"
    messages = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [m for m in messages if m["ActiveParticipant"][0]["AlternativeUserID"] == "AETITLES=SCANNER"]


@pytest.mark.parametrize(
    ("may", "sop_class", "modality", "status"),
    [
        (["store"], MR_IMAGE, "MR", 0),
        (["echo"], MR_IMAGE, "MR", 0x0124),
        (["store:SEG"], SEG, "SEG", 0),
        (["store:SEG"], MR_IMAGE, "MR", 0x0124),
        # The class says one thing and the data set another: both must be allowed.
        (["store:SEG"], MR_IMAGE, "SEG", 0x0124),
        (["store:SEG"], SEG, "MR", 0x0124),
        (["store:SEG"], SEG, None, 0x0124),
        (["store:SEG", "store:MR"], MR_IMAGE, "MR", 0),
        # Secondary captures can be of any modality: the data set decides.
        (["store:SEG"], SC, "SEG", 0),
        (["store:SEG"], SC, "OT", 0x0124),
    ],
)
def test_only_what_may_allows_is_stored(
    tmp_path: Path, may: list[str], sop_class: str, modality: str | None, status: int
) -> None:
    with listening(tmp_path / "spool", peer=[peer(may=may)]) as listener:
        association = listener.associate(contexts=EVERYTHING)
        assert send(association, instance(sop_class, modality)) == status
        association.release()
        assert bool(list(listener.root.rglob("*.dcm"))) is (status == 0)
        assert [e.reason for e in listener.entries("refused")] == ["not-authorised"] * (status != 0)


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, BIG_ENDIAN, DEFLATED])
def test_the_modality_is_found_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    with listening(tmp_path / "spool", peer=[peer(may=["store:MR"])]) as listener:
        association = listener.associate(contexts=[(MR_IMAGE, syntax), (SC, syntax)])
        assert send(association, instance(MR_IMAGE, "MR"), syntax) == 0
        assert send(association, instance(SC, "OT"), syntax) == 0x0124
        association.release()


@pytest.mark.peer("storescu")
def test_an_echo_without_the_right_is_refused_and_audited_once_an_association(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", peer=[peer(may=["store"])]) as listener:
        titles = ["-aet", "SCANNER", "-aec", "AXRAD", "--repeat", "3"]
        told = subprocess.run(
            ["echoscu", "-v", *titles, "127.0.0.1", str(listener.port)], capture_output=True, text=True, check=False
        )
        assert not re.search(r"Success", told.stdout + told.stderr)
        (alert,) = trail(listener)
    assert alert["EventIdentification"]["EventTypeCode"]["csd-code"] == "110132"
    assert alert["EventIdentification"]["EventOutcomeDescription"] == "not authorised: echo"


def request() -> Dataset:
    action, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_IMAGE, "1.2.3"
    action.TransactionUID, action.ReferencedSOPSequence = generate_uid(), [item]
    return action


def test_commitment_is_neither_given_nor_believed_without_the_right(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", peer=[peer(may=["store", "echo"])]) as listener:
        association = listener.associate(contexts=EVERYTHING)
        answer, _ = association.send_n_action(request(), 1, COMMITMENT, COMMITMENT_INSTANCE)
        assert answer.Status == 0x0124
        answer, _ = association.send_n_event_report(request(), 1, COMMITMENT, COMMITMENT_INSTANCE)
        assert answer.Status == 0x0110
        association.release()
        assert list((listener.root / "commitment").iterdir()) == []
        assert listener.entries("commitment") == []
        told = [m["EventIdentification"]["EventOutcomeDescription"] for m in trail(listener)]
    assert told == ["not authorised: commit", "not authorised: report-commitment"]


def test_a_peer_without_may_keeps_what_it_could_do_and_doctor_names_the_line_to_add(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", peer=[peer()]) as listener:
        association = listener.associate(contexts=EVERYTHING)
        assert send(association, instance(MR_IMAGE, "MR")) == 0
        assert association.send_c_echo().Status == 0
        assert association.send_n_action(request(), 1, COMMITMENT, COMMITMENT_INSTANCE)[0].Status == 0
        association.release()
        first, second = admission_checks.examine(listener.settings)
    assert first.ok
    assert second.level == "warn"
    assert 'may = ["store", "echo", "commit", "report-commitment"]' in second.remedy


def test_one_title_in_two_networks_has_the_rights_of_the_network_it_comes_from(tmp_path: Path) -> None:
    peers = [peer(may=["echo"]), peer(networks=["10.0.0.0/8"], may=["store"])]
    with listening(tmp_path / "spool", peer=peers) as listener:
        association = listener.associate(contexts=EVERYTHING)
        assert association.send_c_echo().Status == 0
        assert send(association, instance(MR_IMAGE, "MR")) == 0x0124
        association.release()


@pytest.mark.parametrize(("called_ae", "admitted"), [("AXRAD", True), ("ARCHIVE", False), (None, True)])
def test_a_peer_must_call_us_by_the_title_that_is_set(tmp_path: Path, called_ae: str | None, admitted: bool) -> None:
    with listening(tmp_path / "spool", peer=[peer(called_ae=called_ae)]) as listener:
        association = listener.associate()
        assert association.is_established is admitted
        if admitted:
            association.release()
        told = [m["EventIdentification"]["EventOutcomeDescription"] for m in trail(listener)]
    assert told == ([] if admitted else ["other-called-title"])
