"""Figures: those read from the ledger, those counted by processes that may die, and that none names a patient."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from config.schema import Settings
from daemon import metrics
from daemon.ledger import Ledger, heartbeats
from daemon.ledger.tables import breakers, deliveries, feedback
from daemon.metrics import counters
from daemon.metrics.results import result_made, scanner_label, scanner_of
from daemon.observer import observing
from daemon.observer.http_server import CountedCollector
from daemon.observer.ledger_metrics import LedgerCollector
from pipeline.result import Prediction, StudyResult
from tests.support.queued import NOW, add_revision, add_study, queued

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(families: Any) -> Samples:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def read(ledger: Ledger, tmp_path: Path, lengths: Mapping[str, int] | None = None) -> Samples:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    return samples(LedgerCollector(settings, ledger, lambda: NOW + 100, lambda: lengths or {}).collect())


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"axrad_{name}", tuple(sorted(labels.items()))))


def test_studies_are_counted_by_state_with_the_age_of_the_oldest(ledger: Ledger, tmp_path: Path) -> None:
    add_study(ledger, "s1", "waiting", NOW)
    add_study(ledger, "s2", "waiting", NOW + 50)
    found = read(ledger, tmp_path)
    assert value(found, "studies", state="waiting") == 2
    assert value(found, "study_oldest_seconds", state="waiting") == 100
    assert value(found, "studies", state="failed") == 0, "a state without studies is 0 and not absent"


def test_what_waits_is_counted_by_priority(ledger: Ledger, tmp_path: Path) -> None:
    queued(ledger, "s1", priority=1)
    queued(ledger, "s2")
    queued(ledger, "s3")
    queued(ledger, "s4", role="backfill")
    found = read(ledger, tmp_path)
    assert value(found, "revisions_waiting", priority="urgent") == 1
    assert value(found, "revisions_waiting", priority="routine") == 2
    assert value(found, "revisions_waiting", priority="backfill") == 1


def test_deliveries_are_counted_by_destination_and_outcome(ledger: Ledger, tmp_path: Path) -> None:
    add_study(ledger, "s1", "reported")
    revision = add_revision(ledger, "s1", state="reported", stage="done")
    with ledger.write() as connection:
        for name, state in (("one", "delivered"), ("two", "pending")):
            connection.execute(
                deliveries.insert().values(
                    id=name, revision_id=revision, destination=name, state=state, objects=[], created_at=NOW,
                    next_attempt_at=NOW,
                )
            )  # fmt: skip
        connection.execute(breakers.insert().values(destination="two", failures=4, failing_since=NOW))
    found = read(ledger, tmp_path)
    assert value(found, "deliveries", destination="one", state="delivered") == 1
    assert value(found, "delivery_oldest_seconds", destination="two") == 100
    assert value(found, "destination_failing_seconds", destination="two") == 100
    assert value(found, "delivery_oldest_seconds", destination="one") is None


def test_workers_are_counted_by_the_queue_they_take_from(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as connection:
        heartbeats.sign(connection, "w1", "worker", NOW + 90, {"queues": ["analyse", "deliver"], "processes": 3})
        heartbeats.sign(connection, "w2", "worker", NOW - 900, {"queues": ["analyse"], "processes": 8})
        heartbeats.sign(connection, "sweep", "sweep", NOW + 70)
    found = read(ledger, tmp_path)
    assert value(found, "worker_processes", queue="analyse") == 3
    assert value(found, "sweep_age_seconds") == 30


def test_reasons_for_no_result_are_counted_by_code(ledger: Ledger, tmp_path: Path) -> None:
    for number in range(2):
        add_study(ledger, f"s{number}", "not_evaluated")
        add_revision(ledger, f"s{number}", state="not_evaluated", stage="done", reason_code="outside-training")
    assert value(read(ledger, tmp_path), "revisions_without_result", code="outside-training") == 2


def test_what_readers_said_is_counted_by_signature_and_scanner(ledger: Ledger, tmp_path: Path) -> None:
    add_study(ledger, "s1", "delivered")
    with ledger.write() as connection:
        connection.execute(
            feedback.insert().values(
                study_id="s1", source="reader", document="1.2", verdict="disagree", said_at=NOW, signature="sig@1",
                scanner="ACME One",
            )
        )  # fmt: skip
    found = read(ledger, tmp_path)
    labels = {"signature": "sig@1", "scanner": "other", "source": "reader", "verdict": "disagree"}
    assert value(found, "feedback", **labels) == 1


def test_a_broker_that_is_away_is_down_and_has_no_queues(ledger: Ledger, tmp_path: Path) -> None:
    assert value(read(ledger, tmp_path), "broker_up") == 0
    found = read(ledger, tmp_path, {"analyse": 4})
    assert (value(found, "broker_up"), value(found, "queue_messages", queue="analyse")) == (1, 4)


def test_a_ledger_that_is_away_is_down_and_the_rest_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    from daemon.ledger import open_ledger

    ledger = open_ledger(settings)
    ledger.close()
    ledger.engine = open_ledger(settings).engine
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE deliveries")
    found = samples(LedgerCollector(settings, ledger, lambda: NOW, dict).collect())
    ledger.close()
    assert value(found, "ledger_up") == 0
    assert value(found, "disk_free_bytes")


# Counted where it happens


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"axrad_{name}", labels) or 0.0


def result(**more: Any) -> StudyResult:
    facts = {
        "study_uid": "1.2",
        "status": "evaluated",
        "protocol": {"manufacturer": "ACME", "protocol.model": "One\n<x>"},
        "signature": {"name": "sig@1", "sha256": "ab", "demonstration": False},
        "timings_s": {"bias": 2.0, "total": 3.0},
    }
    return StudyResult.model_validate(facts | more)


SCANNERS = {"acme one X": "MR 1"}


def prediction(**more: Any) -> Prediction:
    facts = {
        "signature": "sig@1",
        "positive_class": "ALN metastasis",
        "probability": 0.73,
        "cutoff": 0.5,
        "category": "high",
        "in_training_range": False,
    }
    return Prediction.model_validate(facts | more)


def test_a_prediction_is_counted_by_category_and_scanner_with_what_drift_is_seen_by() -> None:
    labels = {"signature": "sig@1", "scanner": "MR 1"}
    before = counted("predictions_total", category="high", **labels), counted("outside_training_total", **labels)
    result_made(result(prediction=prediction()), SCANNERS)
    after = counted("predictions_total", category="high", **labels), counted("outside_training_total", **labels)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
    assert counted("probability_sum", **labels) >= 0.73
    assert counted("step_seconds_count", step="bias") >= 1


def test_sides_are_counted_each() -> None:
    labels = {"signature": "sig@1", "scanner": "MR 1", "category": "low"}
    before = counted("predictions_total", **labels)
    low = {"prediction": prediction(category="low").model_dump()}
    result_made(result(laterality="B", sides={"L": low, "R": low}), SCANNERS)
    assert counted("predictions_total", **labels) - before == 2


def test_an_abstention_is_counted_by_reason_and_scanner() -> None:
    labels = {"code": "outside-training", "scanner": "MR 1"}
    before = counted("abstentions_total", **labels)
    result_made(result(status="not_evaluated", reason_codes=("outside-training",)), SCANNERS)
    assert counted("abstentions_total", **labels) - before == 1


def test_a_scanner_that_is_not_told_is_unknown() -> None:
    assert scanner_of(result(protocol={})) == "unknown"
    assert scanner_label("unknown", SCANNERS) == "unknown"


def test_a_scanner_that_the_site_does_not_list_is_another_whatever_its_header_says() -> None:
    before = counted("predictions_total", signature="sig@1", scanner="other", category="high")
    result_made(result(prediction=prediction(), protocol={"manufacturer": "DOE^JANE", "protocol.model": "19700101"}))
    assert counted("predictions_total", signature="sig@1", scanner="other", category="high") == before + 1
    assert "DOE" not in generate_latest().decode()


def test_only_axrads_own_errors_name_a_code_in_the_metrics() -> None:
    class Foreign(Exception):
        code = "DOE^JANE"

    with pytest.raises(Foreign), counters.stage("analyse"):
        raise Foreign
    assert "DOE" not in generate_latest().decode()
    assert counted("stage_seconds_count", stage="analyse", outcome="Foreign") >= 1


def test_what_an_association_brought_is_counted() -> None:
    before = counted("instances_total", status="0000")
    counters.association_ended("released", 3, 1, 10)
    assert counted("instances_total", status="0000") == before + 4


def test_a_stage_is_timed_with_its_outcome() -> None:
    from daemon.work.failure import TaskFailed

    with counters.stage("analyse"):
        pass
    with pytest.raises(TaskFailed), counters.stage("analyse"):
        raise TaskFailed("files-gone", "r1")
    assert counted("stage_seconds_count", stage="analyse", outcome="done") >= 1
    assert counted("stage_seconds_count", stage="analyse", outcome="files-gone") >= 1


COUNT = """
import os, sys
from config.schema import Settings
from daemon import metrics
metrics.set_up(Settings.model_validate({"metrics": {"folder": sys.argv[1]}}))
from daemon.metrics import counters
if os.fork() == 0:
    counters.instance_refused(0xA700)
    os._exit(9)
os.wait()
counters.instance_refused(0xA700)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def two_killed(tmp_path: Path) -> Path:
    """What two processes and their forked children counted before they were killed."""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNT, str(tmp_path)], check=False, cwd=Path(__file__).parents[3])
    return tmp_path


def test_what_killed_processes_counted_is_in_the_sum(two_killed: Path) -> None:
    found = samples(CountedCollector(two_killed).collect())
    assert value(found, "instances_total", status="A700") == 4


def test_a_start_of_everything_forgets_what_the_dead_counted(two_killed: Path) -> None:
    settings = Settings.model_validate({"metrics": {"folder": two_killed}})
    assert metrics.clear(settings) > 0
    assert samples(CountedCollector(two_killed).collect()) == {}


# Served


@pytest.fixture
def served(ledger: Ledger, tmp_path: Path) -> Iterator[str]:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}, "metrics": {"port": 0}})
    (tmp_path / "spool").mkdir()
    server = observing.pages(settings, ledger)
    server.health.refresh_soon = lambda: None  # type: ignore[method-assign] # there is nobody to probe
    with server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_the_page_is_what_prometheus_reads(served: str, ledger: Ledger) -> None:
    add_study(ledger, "s1", "held")
    with urllib.request.urlopen(served + "/metrics") as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain")
    found = samples(text_string_to_metric_families(text))
    assert value(found, "studies", state="held") == 1


def test_life_is_told_without_asking_anybody(served: str) -> None:
    with urllib.request.urlopen(served + "/health/live") as answer:
        assert answer.status == 200


def test_only_this_machine_is_served_by_default() -> None:
    assert Settings().metrics.host == "127.0.0.1"
