"""A running daemon as Prometheus and an orchestrator see it: what was sent is counted, health is what traffic shows."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from pydicom.config import disable_value_validation
from pynetdicom import AE

from daemon.ledger.tables import instances, studies
from daemon.network.health_title import HEALTH_AE_TITLE
from tests.support.daemon import Daemon, running
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, mr_image
from tests.support.listening import forget_sockets, send
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for

PEER = '[[peer]]\nae_title = "SCANNER"\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    page = f"port = {free_port()}\nhealth_every_s = 0.1\nhealth_timeout_s = 6"
    with running(tmp_path_factory.mktemp("daemon"), [PEER], quiet_s=3600, metrics=page) as started:
        wait_for(lambda: ask(started, "/health/ready")[0] == 200, "everything to be ready", ticks=2 * PATIENCE)
        yield started


def ask(daemon: Daemon, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.settings.metrics.port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def figure(daemon: Daemon, name: str, **labels: str) -> float:
    _, text = ask(daemon, "/metrics")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"axrad_{name}" and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


def sender(daemon: Daemon, ae_title: str = "SCANNER", sop_class: str = MR_IMAGE) -> Any:
    ae = AE(ae_title=ae_title)
    ae.add_requested_context(sop_class, EXPLICIT_LE)
    association = ae.associate("127.0.0.1", daemon.port, ae_title="AXRAD")
    if not association.is_established:
        forget_sockets()
    return association


def test_every_part_is_asked_by_traffic(daemon: Daemon) -> None:
    # A check that was late, on a machine that has other things to do, is made again.
    answers: list[tuple[int, str]] = []

    def all_well() -> bool:
        answers.append(ask(daemon, "/health/ready"))
        return answers[-1][0] == 200

    wait_for(all_well, "everything to be ready", moves=lambda: answers[-1])
    found = json.loads(answers[-1][1])
    names = {c["name"] for c in found["checks"]}
    assert {"ledger", "disk", "listener", "intake", "sweep", "queue-analyse", "queue-deliver", "queue-sweep"} <= names
    intake = next(c for c in found["checks"] if c["name"] == "intake")
    assert "in the ledger after" in intake["text"]


def test_probing_leaves_nothing_behind(daemon: Daemon) -> None:
    ask(daemon, "/health/ready")
    with daemon.ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(studies)).scalar_one() == 0

    def left() -> list[object]:
        """Of a probe that is under way there is something for a moment; ten a second would be seen to pile up."""
        with daemon.ledger.read() as connection:
            rows = connection.execute(sa.select(instances.c.id).where(instances.c.calling_ae == HEALTH_AE_TITLE)).all()
        return [*rows, *(daemon.settings.spool.path / "instances").rglob("*.dcm")]

    wait_for(lambda: left() == [], "the last probe to be removed")
    assert len(left()) <= 2, "one probe, in the ledger and in the spool"


def test_refusals_are_counted_from_0_since_alerts_see_no_increase_in_a_series_that_begins_with_1(
    daemon: Daemon,
) -> None:
    for line in ('axrad_instances_total{status="A700"}', 'axrad_associations_total{outcome="other-called-title"}'):
        wait_for(lambda line=line: f"{line} 0.0" in ask(daemon, "/metrics")[1], line)  # type: ignore[misc]


def test_what_is_sent_and_who_is_refused_is_counted(daemon: Daemon) -> None:
    association = sender(daemon)
    assert [send(association, mr_image(f"1.2.3.{n}")) for n in range(3)] == [0, 0, 0]
    association.release()
    assert sender(daemon, "STRANGER").is_rejected
    wait_for(lambda: figure(daemon, "instances_total", status="0000") == 3, "the instances to be counted")
    assert figure(daemon, "instance_bytes_total") > 0
    wait_for(lambda: figure(daemon, "associations_total", outcome="released") == 1, "the association to be counted")
    assert figure(daemon, "associations_total", outcome="unknown-peer") == 1
    wait_for(lambda: figure(daemon, "studies", state="assembling") == 1, "the study to be counted")


def test_an_instance_that_is_refused_is_counted_by_its_status(daemon: Daemon) -> None:
    association = sender(daemon)
    with disable_value_validation():
        status = send(association, mr_image("1.2.3.9x"))
    association.release()
    assert status != 0
    wait_for(lambda: figure(daemon, "instances_total", status=f"{status:04X}") == 1, "the refusal to be counted")


def test_the_trail_says_what_came_and_who_was_refused(daemon: Daemon) -> None:
    trail = daemon.settings.spool.path.parent / "audit.jsonl"

    def kinds() -> set[str]:
        lines = [json.loads(line) for line in trail.read_text().splitlines()]
        return {line["EventIdentification"]["EventID"]["originalText"] for line in lines}

    wanted = {"Application Activity", "DICOM Instances Transferred", "Security Alert"}
    wait_for(lambda: wanted <= kinds(), "the trail")
    assert "Secret" not in trail.read_text()


def queue_of(daemon: Daemon, status: int) -> str:
    """What is said of the queue of deliveries under this status; nothing under another."""
    answered, text = ask(daemon, "/health/ready/queue-deliver")
    return text if answered == status else ""


def test_a_queue_whose_worker_hangs_is_not_ready_and_the_rest_is(daemon: Daemon) -> None:
    child = next(c for c in daemon.supervisor.children if c.name == "work-deliver")
    assert child.process is not None
    wait_for(lambda: figure(daemon, "worker_processes", queue="deliver") > 0, "the worker's sign of life")
    os.killpg(child.process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: "is there a worker for it?" in queue_of(daemon, 503), "the queue to be missed")
        wait_for(lambda: ask(daemon, "/health/ready/ledger")[0] == 200, "the rest to be well")
    finally:
        os.killpg(child.process.pid, signal.SIGCONT)
    wait_for(lambda: ask(daemon, "/health/ready/queue-deliver")[0] == 200, "the queue to be ready again")


def test_a_check_that_does_not_exist_is_said_to_be_none(daemon: Daemon) -> None:
    status, text = ask(daemon, "/health/ready/nothing")
    assert status == 404
    assert "queue-analyse" in text


def test_a_listener_that_is_gone_is_not_ready_and_comes_back(daemon: Daemon) -> None:
    child = next(c for c in daemon.supervisor.children if c.name == "listen")
    assert child.process is not None
    try:
        os.killpg(child.process.pid, signal.SIGKILL)
        wait_for(lambda: ask(daemon, "/health/ready/listener")[0] == 503, "the listener to be missed")
        assert ask(daemon, "/health/live")[0] == 200
    finally:
        wait_for(lambda: ask(daemon, "/health/ready/intake")[0] == 200, "the listener to be back", ticks=2 * PATIENCE)
