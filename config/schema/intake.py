"""What comes in and where it lies: listener, spool, ledger, broker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from config.schema.base import Section


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

    Below `warn_free_bytes`, or `warn_free_inodes`, people are told; below `refuse_free_bytes`, or `refuse_free_inodes`,
    senders are asked to come back. Every file takes an inode; file systems that make them as needed have no limit.

    With `share_port` the listening process serves them by UID to workers that do not have the folder; such a worker
    names that endpoint in `remote` ("https://intake:11190") and keeps up to `cache_bytes` of copies under its own
    `path`. Both know `share_token`, from the environment: AXRAD_SPOOL__SHARE_TOKEN. `remote_ca`: who signed the
    endpoint's certificate; without it the system's authorities.
    """

    path: Path = Path("axrad-data/spool")
    warn_free_bytes: int = 20 * 1024**3
    refuse_free_bytes: int = 2 * 1024**3
    warn_free_inodes: int = Field(100_000, ge=0)
    refuse_free_inodes: int = Field(10_000, ge=0)
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
