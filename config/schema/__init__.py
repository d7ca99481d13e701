"""Every setting, its default and its meaning. Read once, frozen, then passed on.

Times are in seconds where the name ends in `_s`, in days where it ends in `_days`.
"""

from __future__ import annotations

from pydantic import model_validator

from config.schema.base import Section
from config.schema.exams import Assembly, Fetch, Retention, UrgentRule, Work
from config.schema.intake import Broker, Intake, Ledger, Listen, Site, Spool
from config.schema.peers import Destination, Pacs, Peer, fits
from config.schema.science import (
    Align,
    Bias,
    Clinical,
    Features,
    Report,
    RoiSettings,
    Sequences,
    SignatureSettings,
    Training,
)
from config.schema.telling import Audit, Email, FlowerSettings, Log, Metrics, Notify

__all__ = [
    "Align",
    "Assembly",
    "Audit",
    "Bias",
    "Broker",
    "Clinical",
    "Destination",
    "Email",
    "Features",
    "Fetch",
    "FlowerSettings",
    "Intake",
    "Ledger",
    "Listen",
    "Log",
    "Metrics",
    "Notify",
    "Pacs",
    "Peer",
    "Report",
    "Retention",
    "RoiSettings",
    "Section",
    "Sequences",
    "Settings",
    "SignatureSettings",
    "Site",
    "Spool",
    "Training",
    "UrgentRule",
    "Work",
]


class Settings(Section):
    site: Site = Site()
    listen: Listen = Listen()
    intake: Intake = Intake()
    spool: Spool = Spool()
    ledger: Ledger = Ledger()
    broker: Broker = Broker()
    assembly: Assembly = Assembly()
    fetch: Fetch = Fetch()
    retention: Retention = Retention()
    work: Work = Work()
    peer: tuple[Peer, ...] = ()
    pacs: tuple[Pacs, ...] = ()
    destination: tuple[Destination, ...] = ()
    sequences: Sequences = Sequences()
    roi: RoiSettings = RoiSettings()
    align: Align = Align()
    bias: Bias = Bias()
    features: Features = Features()
    signature: SignatureSettings = SignatureSettings()
    report: Report = Report()
    clinical: Clinical = Clinical()
    log: Log = Log()
    audit: Audit = Audit()
    metrics: Metrics = Metrics()
    notify: Notify = Notify()
    flower: FlowerSettings = FlowerSettings()

    @model_validator(mode="after")
    def _machines_agree(self) -> Settings:
        from urllib.parse import urlsplit

        if self.broker.url and not self.ledger.url:
            host = urlsplit(self.broker.url).hostname
            if host not in (None, "localhost", "127.0.0.1", "::1"):
                raise ValueError(
                    "broker.url names another host, so ledger.url must be set too: both hosts need one ledger"
                )
        names = {p.name for p in self.pacs}
        for destination in self.destination:
            if destination.pacs is not None and destination.pacs not in names:
                raise ValueError(f"destination {destination.name}: no [[pacs]] is named {destination.pacs}")
            fits(destination, next((p for p in self.pacs if p.name == destination.pacs), None))
        if len({d.name for d in self.destination}) < len(self.destination):
            raise ValueError("two destinations have the same name")
        return self
