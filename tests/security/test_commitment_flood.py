"""Attack: requests for storage commitment without end, and reports that nobody will ever take."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from daemon.listener import commitment
from daemon.listener.commitment import RoundOutcome, reports, requests
from daemon.listener.contexts import COMMITMENT, COMMITMENT_INSTANCE
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE
from tests.support.listening import Listening, listening
from tests.support.postgres import free_port

# Nothing listens for its reports, so its requests stay open once its association is over.
FLOODER = {"ae_title": "FLOODER"}


def ask(association: Any, instances: int = 1) -> int:
    action = Dataset()
    action.TransactionUID = generate_uid()
    action.ReferencedSOPSequence = []
    for number in range(instances):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_IMAGE, f"1.2.3.{number + 1}"
        action.ReferencedSOPSequence.append(item)
    answer, _ = association.send_n_action(action, 1, COMMITMENT, COMMITMENT_INSTANCE)
    return int(answer.Status)


def asking_and_leaving(listener: Listening, title: str, *sizes: int) -> list[int]:
    """Ask on one association each, and leave at once, so that no report can go out on it."""
    answers = []
    for size in sizes:
        association = listener.associate(ae_title=title, contexts=[(COMMITMENT, EXPLICIT_LE)])
        answers.append(ask(association, size))
        association.abort()
    return answers


def test_one_title_has_only_so_many_open_requests_and_others_are_served(tmp_path: Path) -> None:
    peers = [FLOODER, {"ae_title": "OTHER"}]
    with listening(tmp_path / "spool", peer=peers, listen={"max_commitments_per_peer": 2}) as listener:
        assert asking_and_leaving(listener, "FLOODER", 1, 1, 1, 1) == [0, 0, 0x0213, 0x0213]
        assert asking_and_leaving(listener, "OTHER", 1) == [0]
        assert len(list(listener.spool.commitment.glob("*.json"))) == 3


def test_open_requests_of_one_title_name_only_so_many_instances(tmp_path: Path) -> None:
    limits = {"max_commitment_instances_per_peer": 100}
    with listening(tmp_path / "spool", peer=[FLOODER], listen=limits) as listener:
        assert asking_and_leaving(listener, "FLOODER", 101, 60, 60, 40) == [0x0213, 0, 0x0213, 0]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Transactions whose instances were looked at, in the order in which they were."""
    seen: list[str] = []
    genuine = reports.report_of

    def spied(spool: Any, transaction: Any) -> Any:
        seen.append(transaction.transaction_uid)
        return genuine(spool, transaction)

    monkeypatch.setattr(reports, "report_of", spied)
    return seen


def open_request(listener: Listening, attempts: int = 0) -> None:
    made = requests.Transaction("1.9.9", "FLOODER", "127.0.0.1", time.time(), ((MR_IMAGE, "1.2.3"),), attempts)
    requests.write(requests.new_file(listener.spool, made), made)


@pytest.mark.parametrize(
    ("peer", "attempts"),
    [
        ({}, 0),
        ({"host": "nowhere.invalid", "port": 104}, 0),
        ({"host": "127.0.0.1", "port": "closed"}, 1),
    ],
    ids=["no-address", "no-such-host", "nobody-listens"],
)
def test_nothing_is_hashed_for_a_report_that_nobody_can_take(
    tmp_path: Path, hashed: list[str], peer: dict[str, Any], attempts: int
) -> None:
    if peer.get("port") == "closed":
        peer = {**peer, "port": free_port()}
    with listening(tmp_path / "spool", peer=[{**FLOODER, **peer}]) as listener:
        open_request(listener, attempts)
        assert commitment.send_due_reports(listener.settings) == RoundOutcome(waiting=1)
        later = time.time() + 8 * 86400.0
        assert commitment.send_due_reports(listener.settings, now=later) == RoundOutcome(given_up=1)
    assert hashed == []


def test_who_listens_has_its_report_tried_on_new_connections(tmp_path: Path, hashed: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        peer = {**FLOODER, "host": "127.0.0.1", "port": there.getsockname()[1]}
        with listening(tmp_path / "spool", peer=[peer], listen={"acse_timeout_s": 0.5}) as listener:
            open_request(listener, attempts=1)
            assert commitment.send_due_reports(listener.settings) == RoundOutcome(waiting=1)
    assert hashed == ["1.9.9"]
