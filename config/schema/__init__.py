"""Every setting, its default and its meaning. Read once, frozen, then passed on.

Times are in seconds where the name ends in `_s`, in days where it ends in `_days`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import model_validator

from config.schema.base import Section
from config.schema.exams import Assembly, Fetch, Proposal, Retention, UrgentRule, Work
from config.schema.intake import Broker, Intake, Ledger, Listen, Site, Spool
from config.schema.peers import Destination, Pacs, Peer, fits
from config.schema.science import (
    ADVISED,
    Align,
    Bias,
    Classifier,
    Clinical,
    Features,
    Report,
    RoiSettings,
    ScannerGroup,
    SequenceFeatures,
    Sequences,
    SignatureSettings,
    Training,
)
from config.schema.telling import Audit, Console, Email, FlowerSettings, Log, Metrics, Notify

__all__ = [
    "Align",
    "Assembly",
    "Audit",
    "Bias",
    "Broker",
    "Classifier",
    "Clinical",
    "Console",
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
    "Proposal",
    "Report",
    "Retention",
    "RoiSettings",
    "ScannerGroup",
    "Section",
    "SequenceFeatures",
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
    proposal: Proposal = Proposal()
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
    console: Console = Console()
    flower: FlowerSettings = FlowerSettings()

    @model_validator(mode="before")
    @classmethod
    def _recipe_fills_in(cls, data: object) -> object:
        """`features.recipe = "advised"` gives what the settings do not: the rest of axrad knows no recipe."""
        features = data.get("features") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(features, dict) or features.get("recipe") != "advised":
            return data
        bias = data.get("bias", {})
        filled = {name: features.get(name, ADVISED) for name in ("t1c", "t2")}
        if isinstance(bias, dict):
            bias = {"sequences": ("t1c", "t2"), **bias}
        return {**data, "features": {**features, **filled}, "bias": bias}

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Settings:
        """Each message begins with its key. What else does not go together is told by `config.agreement`, at load."""
        if self.broker.url and not self.ledger.url:
            host = urlsplit(self.broker.url).hostname
            if host not in (None, "localhost", "127.0.0.1", "::1"):
                raise ValueError(
                    "broker.url: it names another host, so ledger.url must be set too: both need one ledger"
                )
        archives = {p.name: p for p in self.pacs}
        for index, destination in enumerate(self.destination):
            if destination.pacs is not None and destination.pacs not in archives:
                known = ", ".join(archives) or "there is none"
                raise ValueError(
                    f"destination.{index}.pacs: no [[pacs]] is named {destination.pacs}; those that there are: {known}"
                )
            fits(f"destination.{index}", destination, archives.get(destination.pacs or ""))
        for key, names in (("pacs", [p.name for p in self.pacs]), ("destination", [d.name for d in self.destination])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{key}: two [[{key}]] are named {twice}; each needs a name of its own")
        return self
