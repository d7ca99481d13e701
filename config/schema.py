"""Every setting, its default and its meaning. Read once, frozen, then passed on.

Times are in seconds where the name ends in `_s`, in days where it ends in `_days`.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sequence = Literal["t1c", "t2", "adc"]
Hours = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Site(Section):
    timezone: str = "UTC"
    institution: str = ""
    uid_root: str = "2.25"


class Listen(Section):
    """Who we are on the network, and what intake may cost."""

    ae_title: str = "AXRAD"
    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)
    acceptors: int = Field(2, ge=1, le=64)
    max_associations: int = Field(64, ge=1)
    max_associations_per_peer: int = Field(16, ge=1)
    max_pdu: int = Field(262144, ge=4096)
    acse_timeout_s: float = 30.0
    network_timeout_s: float = 60.0
    max_instance_bytes: int = 4 * 1024**3
    durability: Literal["instance", "association", "none"] = "association"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None


class Intake(Section):
    on_conflict: Literal["keep_first", "keep_last"] = "keep_first"


class Spool(Section):
    """Where instances and results lie.

    With `share_port` the listening process serves them by UID to workers that do not have the folder; such a worker
    names that endpoint in `remote` ("https://intake:11190") and keeps up to `cache_bytes` of copies under its own
    `path`. Both know `share_token`, from the environment: AXRAD_SPOOL__SHARE_TOKEN. `remote_ca`: who signed the
    endpoint's certificate; without it the system's authorities.
    """

    path: Path = Path("axrad-data/spool")
    warn_free_bytes: int = 20 * 1024**3
    refuse_free_bytes: int = 2 * 1024**3
    share_host: str = "127.0.0.1"
    share_port: int | None = Field(None, ge=0, le=65535)
    share_token: str | None = Field(None, min_length=16, pattern=r"^[\x21-\x7e]+$", repr=False)
    share_certificate: Path | None = None
    share_key: Path | None = None
    remote: str | None = Field(None, pattern=r"^https?://[^/@?#]+/?$")
    remote_ca: Path | None = None
    cache_bytes: int = Field(20 * 1024**3, ge=1)

    @model_validator(mode="after")
    def _shared_with_a_token(self) -> Spool:
        if (self.share_port is not None or self.remote) and self.share_token is None:
            raise ValueError("share_port and remote need share_token (AXRAD_SPOOL__SHARE_TOKEN in the environment)")
        if (self.share_certificate is None) != (self.share_key is None):
            raise ValueError("share_certificate and share_key go together")
        if self.remote and self.share_port is not None:
            raise ValueError("a machine that reads the spool from remote cannot share it")
        return self


class Ledger(Section):
    url: str | None = None


class Broker(Section):
    url: str | None = None


class Assembly(Section):
    """When an exam is complete.

    `require_sequences`, `require_rois`: what must be here. `quiet_s` without arrivals, and it is; `settle_s` are enough
    where associations are closed and a [[pacs]] that can `find` has no more of it. One that does not answer is waited
    for `ask_patience_s`. `max_age_days`: an exam that is older when it arrives is a prior and not reported. `join`:
    what two studies of one patient must have in common to be one exam; nothing: they never are.
    """

    quiet_s: float = Field(120.0, ge=0)
    settle_s: float = Field(10.0, ge=0)
    ask_patience_s: float = Field(900.0, ge=0)
    give_up_days: float = Field(14.0, gt=0)
    max_age_days: float | None = None
    require_sequences: tuple[Sequence, ...] = ("t1c", "t2", "adc")
    require_rois: tuple[Literal["tumor", "lymph_nodes"], ...] = ("tumor", "lymph_nodes")
    join: tuple[Literal["study_date", "frame_of_reference", "scanner"], ...] = ()
    sweep_s: float = Field(2.0, gt=0)


class Fetch(Section):
    """Images that are missing are fetched from every [[pacs]] that can `move`, `get` or has a `dicomweb_url`.

    `how`: in which order the ways are tried. C-MOVE sends to `listen.ae_title`, which the archive must know. At most
    `attempts`, `backoff_s` apart and doubling up to an hour; never more than `max_instances` at once. `max_priors`: how
    many earlier exams of the patient `axrad fetch --priors` asks for.
    """

    enabled: bool = True
    how: tuple[Literal["move", "get", "wado"], ...] = ("move", "get", "wado")
    attempts: int = Field(8, ge=1)
    backoff_s: float = Field(30.0, gt=0)
    max_instances: int = Field(20000, ge=1)
    max_priors: int = Field(3, ge=1)
    answer_timeout_s: float = Field(120.0, gt=0)


class Retention(Section):
    """What is cleaned from the spool: files of exams that are done and of which nothing came for `keep_days`.

    Below `keep_free_bytes` (default: `spool.warn_free_bytes`) also younger ones, the oldest first, down to
    `at_least_days`. `enabled = false` keeps everything.
    """

    enabled: bool = True
    keep_days: float = Field(30.0, ge=0)
    at_least_days: float = Field(1.0, ge=0)
    keep_free_bytes: int | None = Field(None, ge=0)
    every_s: float = Field(600.0, gt=0)


class UrgentRule(Section):
    """Exams that are urgent for where they come from: patterns with * and ?, in any case; all given must match.

    `calling_ae`: who sent it; `station`, `department`, `service`: Station Name, Institutional Department Name,
    Requesting Service.
    """

    calling_ae: str | None = None
    station: str | None = None
    department: str | None = None
    service: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> UrgentRule:
        if not any((self.calling_ae, self.station, self.department, self.service)):
            raise ValueError("a rule needs one of calling_ae, station, department, service")
        return self


class Work(Section):
    """What an exam may cost, and who comes first.

    An exam that takes longer than `time_limit_s` or more memory than `max_memory_bytes` is stopped, its process
    replaced, and the exam set aside after `attempts`. `queue_ahead`: messages in the broker beyond one per worker
    process. A step of priority is worth `head_start_s` of waiting. `background_hours`: when backfills run, as
    "22:00-06:00" in the site's time zone; empty: whenever nothing else waits.
    """

    processes: int = Field(1, ge=1)
    lease_s: float = 120.0
    time_limit_s: float = 900.0
    max_memory_bytes: int | None = Field(8 * 1024**3, ge=64 * 1024**2)
    attempts: int = 3
    backoff_s: float = 10.0
    threads: int | None = None
    queue_ahead: int = Field(2, ge=1)
    head_start_s: float = Field(4 * 3600.0, gt=0)
    urgent: tuple[UrgentRule, ...] = ()
    background_hours: tuple[Hours, ...] = ()


class Peer(Section):
    """Who may send. Without networks: from anywhere. `port`: where it listens for storage commitment reports."""

    ae_title: str
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)


class Pacs(Section):
    """An archive.

    `tls_ca`: who signed its certificate, also for DICOMweb over HTTPS; without it `listen.tls_client_ca`, else the
    system's authorities. Our own certificate is the one of `listen`.
    """

    name: str
    ae_title: str
    host: str
    port: int = Field(ge=1, le=65535)
    tls: bool = False
    tls_ca: Path | None = None
    dicomweb_url: str | None = None
    dicomweb_user: str | None = None
    dicomweb_password: str | None = Field(None, repr=False)
    dicomweb_token: str | None = Field(None, repr=False)
    can: tuple[Literal["find", "move", "get", "commit"], ...] = ()


class Destination(Section):
    """Where results go: a `pacs` by name, or an AE of its own.

    `proof`: what makes a result delivered: a storage commitment report, finding it there again (C-FIND, or QIDO-RS
    `via = "stow"`), or the status of sending it. `reject_superseded` overrides the setting of `report` of that name.
    `at_once`: how many results are sent at a time. A destination that failed `breaker_failures` times in a row is left
    alone for `breaker_pause_s`, then probed with one result. A report on storage commitment that does not come is asked
    for again after `commit_timeout_s`. After `give_up_days`, or `give_up_attempts`, a delivery is set aside:
    `axrad status` lists it, `axrad deliver` sends it again.
    """

    name: str
    pacs: str | None = None
    ae_title: str | None = None
    host: str | None = None
    port: int | None = None
    what: tuple[Literal["sr", "page", "pdf", "key_slices"], ...] = ("sr", "page")
    proof: Literal["commit", "readback", "status"] = "status"
    via: Literal["cstore", "stow"] = "cstore"
    allow_demonstration: bool = False
    reject_superseded: bool | None = None
    at_once: int = Field(2, ge=1)
    connect_timeout_s: float = Field(10.0, gt=0)
    answer_timeout_s: float = Field(60.0, gt=0)
    commit_timeout_s: float = Field(6 * 3600.0, gt=0)
    backoff_max_s: float = Field(3600.0, gt=0)
    breaker_failures: int = Field(3, ge=1)
    breaker_pause_s: float = Field(60.0, gt=0)
    give_up_days: float = Field(7.0, gt=0)
    give_up_attempts: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _has_an_address(self) -> Destination:
        if self.pacs is None and None in (self.ae_title, self.host, self.port):
            raise ValueError("a destination needs either pacs, or ae_title, host and port")
        if self.pacs is None and self.via == "stow":
            raise ValueError('a destination via = "stow" needs a pacs with a dicomweb_url')
        return self


def _fits(destination: Destination, pacs: Pacs | None) -> None:
    """Raise if its pacs cannot do what a destination needs. A pacs without `can` may do anything."""
    if pacs is None:
        return
    if destination.via == "stow" and pacs.dicomweb_url is None:
        raise ValueError(f"destination {destination.name}: pacs {pacs.name} has no dicomweb_url")
    by_query = destination.proof == "readback" and destination.via == "cstore"
    needed = "commit" if destination.proof == "commit" else "find" if by_query else None
    if pacs.can and needed is not None and needed not in pacs.can:
        raise ValueError(
            f'destination {destination.name}: proof = "{destination.proof}" needs "{needed}" in can of pacs {pacs.name}'
        )


class Sequences(Section):
    """Which series is which.

    `phase`: first_post, peak, nth:N (the N-th after contrast) or seconds:S (after injection). `rules`: a site's own
    rule table, laid over `config/sequence_rules.toml`. `use`: sequence to Series Instance UID, where a person decides.
    `adc_scale`: what brings the values of ADC maps that do not tell their unit to 10-6 mm2/s.
    """

    phase: str = Field("first_post", pattern=r"^(first_post|peak|nth:[1-9][0-9]*|seconds:[0-9]+(\.[0-9]+)?)$")
    rules: Path | None = None
    min_margin: float = Field(0.05, ge=0)
    use: dict[Sequence, str] = Field(default_factory=dict)
    allow_lossy: bool = False
    adc_scale: float | None = Field(None, gt=0)


class RoiSettings(Section):
    """Regions: from which fraction a FRACTIONAL voxel is in, which tumours count, a site's own rule table.

    `min_inside`: the part of a segment that must lie inside the image.
    """

    fractional_threshold: float = Field(0.5, gt=0, le=1)
    tumors: Literal["union", "largest"] = "union"
    rules: Path | None = None
    min_inside: float = Field(0.95, ge=0, le=1)


class Align(Section):
    """How T1+C relates to the other series: limits on registration, and on a region's volume there against T1+C."""

    registration: Literal["off", "rigid"] = "off"
    max_shift_mm: float = Field(15.0, ge=0)
    max_rotation_deg: float = Field(10.0, ge=0)
    min_kept_volume: float = Field(0.5, ge=0)
    max_kept_volume: float = Field(2.0, gt=0)
    seed: int = 20210628


class Bias(Section):
    """N4 as Slicer's N4ITK sets it: `iterations` per fitting level, coarse to fine; `mesh` in x, y, z order.

    `sequences` are corrected, the others are left as they are. ADC is quantitative and N4 alters it; it is in by
    default because the paper exempts no sequence.
    """

    engine: Literal["fast", "simpleitk"] = "fast"
    sequences: tuple[Sequence, ...] = ("t1c", "t2", "adc")
    shrink: int = Field(4, ge=1)
    iterations: tuple[Annotated[int, Field(ge=1)], ...] = Field((50, 40, 30), min_length=1)
    threshold: float = Field(1e-4, ge=0)
    mesh: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1, 1)
    fwhm: float = Field(0.15, gt=0)
    wiener_noise: float = Field(0.01, gt=0)
    histogram_bins: int = Field(200, ge=2)


class Features(Section):
    """`params`: a PyRadiomics parameter file in place of config/extraction.toml.

    `engine = "plain"` is PyRadiomics' own call on the whole image: the same numbers, slowly.
    """

    engine: Literal["fast", "plain"] = "fast"
    set: Literal["all", "signature"] = "all"
    bin_width: float = Field(25.0, gt=0)
    params: Path | None = None


class Training(Section):
    """How a signature is trained. The defaults are the paper's recipe, calibrated and cut out of fold.

    `recipe = "paper"` calibrates and cuts by resubstitution. `t_test_p` or `top` None leaves that selection out;
    `gamma` None is 1/p. `clinical` makes a multiomic signature. `range_margin`: part of a feature's training range
    by which a new value may exceed it.
    """

    recipe: Literal["out_of_fold", "paper"] = "out_of_fold"
    sequences: tuple[Sequence, ...] = ("t1c", "t2", "adc")
    rois: tuple[Literal["tumor", "lymph_nodes"], ...] = ("tumor", "lymph_nodes")
    clinical: tuple[str, ...] = ()
    z_score: bool = True
    t_test_p: float | None = Field(0.05, gt=0, le=1)
    trees: int = Field(500, ge=1)
    top: int | None = Field(30, ge=1)
    standardise: bool = True
    classifier: Literal["svm", "logistic", "forest", "boosting"] = "svm"
    cost: float = Field(1.0, gt=0)
    gamma: float | None = Field(None, gt=0)
    folds: int = Field(5, ge=2)
    seed: int = Field(20210628, ge=0, lt=2**32)
    range_margin: float = Field(0.1, ge=0)
    complete_cases: bool = False


class SignatureSettings(Section):
    """`path`: one signature file; `registry`: a directory of them. Neither: the demonstration signature.

    Not evaluated: more than `max_outside` of the features outside their training range, or a distance from the
    training data above `max_distance` times its 99 % quantile. `alpha`: the conformal band's error rate per class;
    None leaves the category to the cutoff.
    """

    path: Path | None = None
    registry: Path | None = None
    max_outside: float = Field(0.05, ge=0, le=1)
    max_distance: float = Field(3.0, gt=0)
    alpha: float | None = Field(0.1, gt=0, lt=1)
    training: Training = Training()


class Report(Section):
    manufacturer: str = "axrad"
    comprehensive_3d: bool = False
    all_features: bool = False
    report_not_evaluated: bool = True
    # (0018,1002) inside Contributing Equipment: IHE AIR asks for it, dciodvfy of 2022 warns of it. Without it the same
    # UID is the item's Device Serial Number and the Device UID of the equipment and of the author.
    contributing_device_uid: bool = False
    # With a corrected result, also send a Key Object rejection note (IHE IOCM) for what was delivered before.
    reject_superseded: bool = False
    what: tuple[Literal["sr", "page", "pdf", "key_slices"], ...] = ("sr", "page", "pdf")


class Clinical(Section):
    """Where age, stage, receptors and Ki-67 come from: a CSV or JSON `registry`, a FHIR R4 server, or nothing.

    `fhir_systems`: DICOM Issuer of Patient ID to the identifier system FHIR knows it by. What is dated more than
    `max_days_after_exam` days after the exam is not used.
    """

    registry: Path | None = None
    fhir_url: str | None = None
    fhir_token: str | None = Field(None, repr=False)
    fhir_systems: dict[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(10.0, gt=0)
    max_days_after_exam: int = Field(30, ge=0)


class Log(Section):
    format: Literal["auto", "json", "human"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Audit(Section):
    """The audit trail: one JSON line per event, to a file (default: `audit.jsonl` beside the spool) and to syslog.

    `syslog`: a socket (`/dev/log`), or `udp://host:port` or `tcp://host:port`.
    """

    enabled: bool = True
    path: Path | None = None
    syslog: str | None = Field(None, pattern=r"^(/.+|(udp|tcp)://.+:[0-9]+)$")


class Metrics(Section):
    """`axrad observe`: metrics and health over HTTP, without a password, and so for this machine unless told otherwise.

    Health is asked when somebody asks, at most every `health_every_s`, by C-ECHO and C-STORE from AXRADHEALTH among
    others, which the listener takes from this machine also where [[peer]] does not list it. `listener_host`: where the
    listener is, if not at `listen.host`, or the name in its certificate. `folder`: where processes count; default:
    `metrics` beside the spool.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(11180, ge=0, le=65535)
    folder: Path | None = None
    listener_host: str | None = None
    health_every_s: float = Field(15.0, gt=0)
    health_timeout_s: float = Field(10.0, gt=0)


class Email(Section):
    host: str
    port: int = Field(25, ge=1, le=65535)
    starttls: bool = False
    user: str | None = None
    password: str | None = Field(None, repr=False)
    sender: str
    to: tuple[str, ...] = Field(min_length=1)


class Notify(Section):
    """Who is told of trouble: a webhook that takes JSON with a `text`, an e-mail address, both or nobody.

    At most one message per kind of trouble every `min_interval_s`; what happens in between is in the next one. Trouble
    that lasts (disk, peer) is told again after `repeat_s`, and once when it is over.
    """

    webhook_url: str | None = Field(None, repr=False)
    email: Email | None = None
    on: tuple[Literal["failed", "not_evaluated", "held", "dead_letter", "disk", "peer_down", "no_workers"], ...] = (
        "failed",
        "not_evaluated",
        "held",
        "dead_letter",
        "disk",
        "peer_down",
        "no_workers",
    )
    min_interval_s: float = Field(300.0, ge=0)
    repeat_s: float = Field(6 * 3600.0, gt=0)
    every_s: float = Field(10.0, gt=0)


class FlowerSettings(Section):
    """`read_only`: Flower shows; what steers is `axrad retry | cancel | prioritise`, which the ledger remembers."""

    port: int = 5555
    host: str = "127.0.0.1"
    user: str = "axrad"
    password: str | None = Field(None, repr=False)
    read_only: bool = True


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
            _fits(destination, next((p for p in self.pacs if p.name == destination.pacs), None))
        if len({d.name for d in self.destination}) < len(self.destination):
            raise ValueError("two destinations have the same name")
        return self
