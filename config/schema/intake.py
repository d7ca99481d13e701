"""What comes in and where it lies: listener, spool, ledger, broker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from config.schema.base import Section
from config.schema.urls import BrokerUrl, LedgerUrl, RemoteUrl, with_password
from config.schema.values import (
    MAIN_SPOOL,
    AeTitle,
    CertificateName,
    InFile,
    KeptFile,
    LongString,
    Network,
    OwnFolder,
    OwnHost,
    OwnPort,
    SpoolId,
    TimeZone,
    UidRoot,
)


class Site(Section):
    """What is the same on every machine of the site.

    `key_file`: the key under which digests of patients' ids are kept (default: `site.key` beside the spool). The first
    start makes it; it is the same file or secret on every machine that receives or fetches, and belongs into a safe.
    """

    timezone: TimeZone = "UTC"
    institution: LongString = ""
    uid_root: UidRoot = "2.25"
    key_file: KeptFile | None = None


class Listen(Section):
    """Who we are on the network, and what intake may cost."""

    ae_title: AeTitle = "AXRAD"
    host: OwnHost = "127.0.0.1"
    port: OwnPort = 11112
    acceptors: int = Field(2, ge=1, le=64)
    max_associations: int = Field(64, ge=1)
    max_associations_per_peer: int = Field(16, ge=1)
    max_pdu: int = Field(262144, ge=4096, le=2**32 - 1)
    acse_timeout_s: float = Field(30.0, gt=0)
    network_timeout_s: float = Field(60.0, gt=0)
    max_instance_bytes: int = Field(4 * 1024**3, ge=1)
    max_commitments_per_peer: int = Field(1000, ge=1)
    max_commitment_instances_per_peer: int = Field(200_000, ge=1)
    commitment_days: float = Field(7.0, gt=0)
    durability: Literal["instance", "association", "none"] = "association"
    tls_certificate: InFile | None = None
    tls_key: InFile | None = None
    tls_client_ca: InFile | None = None
    tls_crl: InFile | None = None


class Intake(Section):
    on_conflict: Literal["keep_first", "keep_last"] = "keep_first"


class Spool(Section):
    """Where instances and results lie.

    Below `warn_free_bytes`, or `warn_free_inodes`, people are told; below `refuse_free_bytes`, or `refuse_free_inodes`,
    senders are asked to come back. Every file takes an inode; file systems that make them as needed have no limit.

    With `share_port` the listening process serves them by UID to workers that do not have the folder; such a worker
    names that endpoint in `remote` ("https://intake:11190") and keeps up to `cache_bytes` of copies under its own
    `path`. Both know the same tokens: `share_read_token_file` opens instances and results for reading,
    `share_write_token_file` lets results be written; `share_token` does both, and comes from `share_token_file`, or
    from the environment: AXRAD_SPOOL__SHARE_TOKEN. A file of tokens that read, or write, has one a line, of at least
    16 characters: all of them are taken, and a worker shows the first. It is read again when it changes.
    `remote_ca`: who signed the endpoint's certificate; without it the system's authorities. `remote_packed`: images
    are made smaller for the way, which costs processor time on both machines: false on a line of 10 Gbit/s.

    `share_networks`: from where workers may connect; without it, from anywhere. `share_client_ca`: workers show a
    certificate of this authority (`remote_certificate`, `remote_key`); `share_certificates`: which ones, by names or
    "sha256:…", as in [[peer]]; without it, any. At most `share_connections` are open at once, and
    `share_connections_per_address` from one address; beyond that, those go first that showed no token.

    Several spools may have one ledger. `id`: this spool's name in it, or, beside `remote`, the name of the spool that
    is read from there. `others`: ids of other spools that this machine reads, each with the endpoint that serves it.
    """

    id: SpoolId = MAIN_SPOOL
    path: OwnFolder = Path("axrad-data/spool")
    warn_free_bytes: int = Field(20 * 1024**3, ge=0)
    refuse_free_bytes: int = Field(2 * 1024**3, ge=0)
    warn_free_inodes: int = Field(100_000, ge=0)
    refuse_free_inodes: int = Field(10_000, ge=0)
    share_host: OwnHost = "127.0.0.1"
    share_port: OwnPort | None = None
    share_token: str | None = Field(None, min_length=16, pattern=r"^[\x21-\x7e]+$", repr=False)
    share_read_token_file: InFile | None = None
    share_write_token_file: InFile | None = None
    share_certificate: InFile | None = None
    share_key: InFile | None = None
    share_client_ca: InFile | None = None
    share_crl: InFile | None = None
    share_certificates: tuple[CertificateName, ...] = ()
    share_networks: tuple[Network, ...] = ()
    share_connections: int = Field(256, ge=1)
    share_connections_per_address: int = Field(64, ge=1)
    remote: RemoteUrl | None = None
    others: dict[SpoolId, RemoteUrl] = Field(default_factory=dict)
    remote_ca: InFile | None = None
    remote_certificate: InFile | None = None
    remote_key: InFile | None = None
    remote_packed: bool = True
    cache_bytes: int = Field(20 * 1024**3, ge=1)

    @model_validator(mode="after")
    def _shared_with_a_token(self) -> Spool:
        if (self.share_port is not None or self.remote or self.others) and not self._has_tokens:
            raise ValueError(
                "share_port, remote and others need share_token (AXRAD_SPOOL__SHARE_TOKEN in the environment), "
                "or share_read_token_file and share_write_token_file"
            )
        if (self.share_certificate is None) != (self.share_key is None):
            raise ValueError("share_certificate and share_key go together")
        if (self.remote_certificate is None) != (self.remote_key is None):
            raise ValueError("remote_certificate and remote_key go together")
        if self.share_client_ca is not None and self.share_certificate is None:
            raise ValueError("share_client_ca needs share_certificate: without TLS nobody shows a certificate")
        if self.share_client_ca is None and (self.share_certificates or self.share_crl is not None):
            raise ValueError("share_certificates and share_crl need share_client_ca")
        if self.remote and self.share_port is not None:
            raise ValueError("a machine that reads the spool from remote cannot share it")
        if self.id in self.others:
            raise ValueError("others names this machine's own spool")
        return self

    @property
    def _has_tokens(self) -> bool:
        """One that reads and one that writes."""
        if self.share_token is not None:
            return True
        return self.share_read_token_file is not None and self.share_write_token_file is not None


class Ledger(Section):
    """Where the state of every exam is kept. `password`: what stands in the URL, where it is given apart."""

    url: LedgerUrl | None = Field(None, repr=False)
    password: str | None = Field(None, min_length=1, repr=False)

    _password_in_url = model_validator(mode="before")(with_password)


class Broker(Section):
    """What carries messages between processes. `password`: what stands in the URL, where it is given apart."""

    url: BrokerUrl | None = Field(None, repr=False)
    password: str | None = Field(None, min_length=1, repr=False)

    _password_in_url = model_validator(mode="before")(with_password)
