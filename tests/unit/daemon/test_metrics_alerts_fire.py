"""Every alert fires on what it is for and is silent before, judged by Prometheus's own `promtool test rules`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from prometheus_client import Counter
from ruamel.yaml import YAML

from daemon.listener import statuses
from daemon.metrics import counters
from tests.unit.daemon.test_metrics_alerts import GRAFANA, rules

# One value a minute. "0x30 1x60": 0 for half an hour, then 1 for an hour.
BROKEN = "1x30 0x300"
STATE_2 = "0x30 2x300"
ONE_EVENT = "0x30 1x300"
AGREE = 'axrad_feedback{signature="s@1",source="reader",verdict="%s"}'
FIRING: dict[str, dict[str, str]] = {
    "AxradAway": {'up{job="axrad"}': BROKEN},
    "AxradListenerDown": {"axrad_listener_up": BROKEN},
    "AxradIntakeBroken": {'axrad_health{check="intake"}': BROKEN},
    "AxradLedgerDown": {"axrad_ledger_up": BROKEN},
    "AxradBrokerDown": {"axrad_broker_up": BROKEN},
    "AxradSweepLate": {'axrad_check{check="sweep"}': STATE_2},
    "AxradNoWorkers": {'axrad_check{check="workers",subject="analyse"}': STATE_2},
    "AxradQueueHangs": {'axrad_health{check="queue-analyse"}': BROKEN},
    "AxradProposalsWait": {
        "axrad_proposal_oldest_seconds": "60x30 300000x300",
        'axrad_proposals{state="sent"}': "0x30 1x300",
    },
    "AxradExamsWaitLong": {'axrad_study_oldest_seconds{state="ready"}': "60x30 3700x300"},
    "AxradExamsFailed": {'axrad_studies{state="failed"}': ONE_EVENT},
    "AxradExamsHeld": {'axrad_studies{state="held"}': ONE_EVENT},
    "AxradDestinationDown": {'axrad_destination_failing_seconds{destination="pacs"}': "0x30 700x300"},
    "AxradDeadLetters": {'axrad_deliveries{destination="pacs",state="failed"}': ONE_EVENT},
    "AxradFilesSetAside": {"axrad_files_set_aside": ONE_EVENT},
    "AxradCannotJudge": {'axrad_check{check="rules"}': STATE_2},
    "AxradUnproven": {'axrad_delivery_oldest_seconds{destination="pacs"}': "60x30 90000x300"},
    "AxradDiskLow": {'axrad_check{check="disk"}': "0x30 1x300"},
    "AxradDiskFull": {'axrad_check{check="inodes"}': STATE_2},
    "AxradRefuses": {'axrad_instances_total{status="A700"}': ONE_EVENT},
    "AxradStrangers": {'axrad_associations_total{outcome="unknown-peer"}': ONE_EVENT},
    "AxradAbstainsOften": {
        'axrad_abstentions_total{code="no-adc",scanner="A"}': "0x30 0+1x300",
        'axrad_predictions_total{signature="s@1",category="high",scanner="A"}': "0x30 1x300",
    },
    "AxradDrifts": {
        'axrad_outside_training_total{signature="s@1",scanner="A"}': "0x30 0+1x300",
        'axrad_predictions_total{signature="s@1",category="high",scanner="A"}': "0x30 0+2x300",
    },
    "AxradReadersDisagree": {AGREE % "disagree": "0x30 10x300", AGREE % "agree": "0x30 15x300"},
    "AxradAuditNotWritten": {"axrad_audit_failures_total": ONE_EVENT},
    "AxradNobodyIsTold": {'axrad_notices_total{channel="webhook",outcome="failed"}': "0x30 1+1x300"},
}


def fired(alert: str, at: str, number: int) -> dict[str, object]:
    """In the last hour before `at`."""
    expression = f'count(max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[60m]))'
    samples = [{"labels": "{}", "value": number}] if number else []
    return {"expr": expression, "eval_time": at, "exp_samples": samples}


@pytest.mark.peer("promtool")
def test_every_alert_fires_on_what_it_is_for_and_not_before(tmp_path: Path) -> None:
    assert list(FIRING) == [rule["alert"] for rule in rules()]
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [fired(alert, "29m", 0), fired(alert, "89m", 1)],
        }
        for alert, series in FIRING.items()
    ]
    document = {"rule_files": [str(GRAFANA / "alerts.yaml")], "evaluation_interval": "1m", "tests": tests}
    file = tmp_path / "alerts.test.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(document, stream)
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def values_of(counter: Counter) -> dict[str, float]:
    return {
        next(iter(s.labels.values())): s.value
        for m in counter.collect()
        for s in m.samples
        if s.name.endswith("_total")
    }


def test_what_alerts_count_is_there_before_its_first_event() -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    counters.begin_intake((r.status for r in statuses.ALL), (r.reason for r in statuses.ALL_REJECTIONS))
    assert {f"{r.status:04X}" for r in statuses.ALL} <= values_of(counters.INSTANCES).keys()
    assert "unknown-peer" in values_of(counters.ASSOCIATIONS)
    counters.begin_notices(["a-channel-of-this-test"])
    samples = [
        s for m in counters.NOTICES.collect() for s in m.samples if s.labels["channel"] == "a-channel-of-this-test"
    ]
    assert {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")} == {"told": 0, "failed": 0}
