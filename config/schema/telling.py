"""What axrad tells of itself: logs, audit trail, metrics, notices, the console, Flower."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from config.schema.base import Section
from config.schema.urls import BaseUrl, Syslog, WebUrl
from config.schema.values import EmailAddress, Host, InFile, Name, Network, OwnFile, OwnFolder, OwnHost, OwnPort, Port


class Log(Section):
    format: Literal["auto", "json", "human"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Audit(Section):
    """The audit trail: one JSON line per event, to a file (default: `audit.jsonl` beside the spool) and to syslog.

    `patients`: name the patient (Patient ID) as a participant, as IHE ATNA has it; the trail is then to be guarded like
    the archive. `syslog`: a socket (`/dev/log`), or `udp://host:port`, `tcp://host:port` or `tls://host:port`
    (RFC 5425). Of TLS: `syslog_ca` signed the server's certificate (default: the system's authorities),
    `syslog_certificate` and `syslog_key` are ours, where the server asks for one.
    """

    enabled: bool = True
    patients: bool = False
    path: OwnFile | None = None
    syslog: Syslog | None = None
    syslog_ca: InFile | None = None
    syslog_certificate: InFile | None = None
    syslog_key: InFile | None = None

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Audit:
        if (self.syslog_certificate is None) != (self.syslog_key is None):
            raise ValueError("syslog_certificate and syslog_key go together")
        if self.syslog_ca is not None and not (self.syslog or "").startswith("tls://"):
            raise ValueError('syslog_ca belongs to TLS: syslog = "tls://host:6514"')
        return self


class Metrics(Section):
    """`axrad observe`: metrics and health over HTTP, without a password, and so for this machine unless told otherwise.

    Health is asked when somebody asks, at most every `health_every_s`, by C-ECHO and C-STORE from AXRADHEALTH among
    others, which the listener takes from this machine also where [[peer]] does not list it, and from which it stores
    nothing but the object of this check. `listener_host`: where the listener is, if not at `listen.host`, or the name
    in its certificate. `folder`: where processes count; default:
    `metrics` beside the spool. `scanners`: how metrics name a scanner, by its manufacturer and model as headers write
    them (`"SIEMENS Skyra" = "MR 3"`); one that is not listed counts as `other`, since a header may say anything.
    """

    enabled: bool = True
    host: OwnHost = "127.0.0.1"
    port: OwnPort = 11180
    folder: OwnFolder | None = None
    listener_host: Host | None = None
    health_every_s: float = Field(15.0, gt=0)
    health_timeout_s: float = Field(10.0, gt=0)
    scanners: dict[str, Name] = Field(default_factory=dict)


class Email(Section):
    host: Host
    port: Port = 25
    starttls: bool = False
    user: str | None = None
    password: str | None = Field(None, repr=False)
    sender: EmailAddress
    to: tuple[EmailAddress, ...] = Field(min_length=1)


Trouble = Literal[
    "failed",
    "not_evaluated",
    "held",
    "dead_letter",
    "disk",
    "peer_down",
    "no_workers",
    "stalled",
    "unreadable",
    "patient_corrected",
]


class Notify(Section):
    """Who is told of trouble: a webhook that takes JSON with a `text`, an e-mail address, both or nobody.

    At most one message per kind of trouble every `min_interval_s`; what happens in between is in the next one. Trouble
    that lasts (disk, peer) is told again after `repeat_s`, and once when it is over.
    """

    webhook_url: WebUrl | None = Field(None, repr=False)
    email: Email | None = None
    on: tuple[Trouble, ...] = (
        "failed",
        "not_evaluated",
        "held",
        "patient_corrected",
        "dead_letter",
        "disk",
        "peer_down",
        "no_workers",
        "stalled",
        "unreadable",
    )
    min_interval_s: float = Field(300.0, ge=0)
    repeat_s: float = Field(6 * 3600.0, gt=0)
    every_s: float = Field(10.0, gt=0)


class Console(Section):
    """The pages in the browser. `axrad console` starts them where a user was added (`axrad console user add`).

    Other machines reach them only with `certificate` and `key` (HTTPS), or through a proxy of `trusted_proxies` that
    ends TLS and sends `X-Forwarded-Proto: https`; then connections from elsewhere are refused. `allowed_hosts`: names
    by which browsers may ask for them; on this machine alone `localhost` and its addresses, which need no entry.
    `users`: the file of users (default: `console-users.json` beside the spool). A session ends after `idle_s` without
    a request, and after `longest_s` in any case. `flower_url`: where the page of workers links to.

    With `oidc_issuer`, `oidc_client_id` and `oidc_client_secret` (or `oidc_client_secret_file`) people also sign in at
    an identity provider (OpenID Connect). The values of the claim `oidc_role_claim` give the role, as `oidc_roles`
    maps them (`oidc_roles = {"mri-readers" = "radiologist"}`; without it, values that are roles); of several the one
    listed last here: viewer, radiologist, operator, admin. Who has none of them has no access. `oidc_user_claim` names
    the user. `oidc_ca`: who signed the provider's certificate (default: the system's authorities). The provider sends
    people back to `/sign-in/oidc/callback`.
    """

    host: OwnHost = "127.0.0.1"
    port: OwnPort = 11185
    allowed_hosts: tuple[Host, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    certificate: InFile | None = None
    key: InFile | None = None
    users: OwnFile | None = None
    idle_s: float = Field(900.0, ge=30, le=3600)
    longest_s: float = Field(12 * 3600.0, ge=30, le=24 * 3600)
    flower_url: WebUrl | None = None
    oidc_issuer: BaseUrl | None = None
    oidc_client_id: str | None = Field(None, min_length=1)
    oidc_client_secret: str | None = Field(None, min_length=1, repr=False)
    oidc_user_claim: Name = "preferred_username"
    oidc_role_claim: Name = "roles"
    oidc_roles: dict[str, Literal["viewer", "radiologist", "operator", "admin"]] = Field(default_factory=dict)
    oidc_ca: InFile | None = None


class FlowerSettings(Section):
    """`read_only`: Flower shows; what steers is `axrad retry | cancel | prioritise`, which the ledger remembers."""

    port: OwnPort = 5555
    host: OwnHost = "127.0.0.1"
    user: str = Field("axrad", pattern=r"^[^:\s]+$")
    password: str | None = Field(None, repr=False)
    read_only: bool = True
