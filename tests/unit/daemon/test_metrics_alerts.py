"""Dashboard and alerts speak of figures that exist, and every alert says what to do, in short and in the run book."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase
from ruamel.yaml import YAML

from config.schema import Settings
from daemon.ledger import heartbeats, open_ledger
from daemon.metrics import counters
from daemon.observer.ledger_metrics import LedgerCollector

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "docker" / "grafana"


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load((GRAFANA / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The name of every figure, with the suffixes that Prometheus sees."""
    spool = tmp_path_factory.mktemp("house") / "spool"
    spool.mkdir()
    settings = Settings.model_validate({"spool": {"path": spool}})
    ledger = open_ledger(settings)
    with ledger.write() as connection:
        heartbeats.sign(connection, "sweep", "sweep", 0.0)
    names = {family.name for family in LedgerCollector(settings, ledger, lambda: 1.0, dict).collect()}
    ledger.close()
    names |= {"axrad_associations_open", "axrad_associations_limit", "axrad_health", "up"}
    for metric in vars(counters).values():
        for family in metric.collect() if isinstance(metric, MetricWrapperBase) else ():
            suffixes = {"counter": ["_total"], "histogram": ["_sum", "_count", "_bucket"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


def spoken_of(expression: str) -> set[str]:
    return set(re.findall(r"\baxrad_\w+", expression))


def test_alerts_are_about_figures_that_exist(known: set[str]) -> None:
    assert {name for rule in rules() for name in spoken_of(rule["expr"])} <= known


def test_the_dashboard_shows_figures_that_exist(known: set[str]) -> None:
    dashboard = json.loads((GRAFANA / "dashboard.json").read_text())
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) > 25
    assert {name for expression in targets for name in spoken_of(expression)} <= known


def test_every_figure_that_is_counted_is_on_the_dashboard_or_alerted_on(known: set[str]) -> None:
    text = (GRAFANA / "dashboard.json").read_text() + (GRAFANA / "alerts.yaml").read_text()
    shown = spoken_of(text)
    stems = {re.sub(r"_(total|sum|count|bucket)$", "", name) for name in known - {"up"}}
    minor = {"axrad_revisions_announced", "axrad_journals", "axrad_spool_bytes", "axrad_disk_size_bytes"}
    minor |= {"axrad_check_value"}
    assert {s for s in stems - minor if not any(name.startswith(s) for name in shown)} == set()


def test_every_alert_names_the_action_and_has_its_section_in_the_run_book() -> None:
    book = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (\w+)$", book, flags=re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert {"summary", "action"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_parentheses_and_quotes_of_every_expression_are_closed() -> None:
    for rule in rules():
        expression = rule["expr"]
        assert expression.count("(") == expression.count(")"), rule["alert"]
        assert expression.count("{") == expression.count("}"), rule["alert"]
        assert expression.count('"') % 2 == 0, rule["alert"]
