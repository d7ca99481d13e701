"""Ask the listener as a modality would: C-ECHO, and one tiny C-STORE that must reach the ledger and leaves no trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.association import Association

from config.schema import Settings
from daemon.export.association import Address, associated
from daemon.ledger import Ledger
from daemon.ledger.tables import instances
from daemon.listener import own_probe
from daemon.listener.own_probe import BASIC_TEXT_SR
from daemon.listener.statuses import NOT_AUTHORISED
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.spool import Spool
from pipeline.errors import PeerUnreachable, TryLater

VERIFICATION = "1.2.840.10008.1.1"
ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
# What an earlier probe left because the indexer was away then.
LEFT_BEHIND_S = 120.0


def echo(settings: Settings) -> str:
    """C-ECHO to our own listener, over TLS where it listens so. Raises PeerUnreachable."""
    with _associated(settings, VERIFICATION) as association:
        status = association.send_c_echo()
    if getattr(status, "Status", None) != 0:
        raise PeerUnreachable("the listener does not answer C-ECHO")
    return f"C-ECHO answered at {settings.listen.host}:{settings.listen.port}"


def store_and_find(settings: Settings, ledger: Ledger, patience_s: float) -> str:
    """C-STORE one object, find it in the ledger, remove it. Raises PeerUnreachable, TryLater."""
    began = time.monotonic()
    try:
        key = own_probe.key_of(settings.spool.path)
    except OSError as error:
        raise PeerUnreachable(f"{own_probe.KEY_NAME} in the spool cannot be read ({error.strerror})") from error
    probe = own_probe.data_set(own_probe.new_uid(key))
    with _associated(settings, BASIC_TEXT_SR) as association:
        status = association.send_c_store(probe)
    value = getattr(status, "Status", None)
    if value == NOT_AUTHORISED.status:
        raise PeerUnreachable(
            "the listener does not take the object for ours; it must have this spool, and its clock be within 10 min"
        )
    if value != 0:
        answer = "nothing" if value is None else f"0x{value:04X}"
        raise PeerUnreachable(f"the listener answers {answer} to C-STORE")
    stored_s = time.monotonic() - began
    while time.monotonic() - began < patience_s:
        if _clean(settings, ledger, str(probe.SOPInstanceUID)):
            return f"stored in {stored_s:.2f} s, in the ledger after {time.monotonic() - began:.2f} s, removed"
        time.sleep(0.05)
    raise TryLater("an object was stored and is not in the ledger: does the indexer of `axrad listen` run?")


def _clean(settings: Settings, ledger: Ledger, sop_uid: str) -> bool:
    """Remove this probe, and forgotten ones, from spool and ledger; whether this one was there."""
    ours = (instances.c.spool == settings.spool.id) & (instances.c.sop_class == BASIC_TEXT_SR)
    of_the_probe = ours & (instances.c.calling_ae == HEALTH_AE_TITLE)
    old = instances.c.received_at < time.time() - LEFT_BEHIND_S
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(instances.c.id, instances.c.path, instances.c.sop_uid).where(
                of_the_probe & ((instances.c.sop_uid == sop_uid) | old)
            )
        ).all()
    if not rows:
        return False
    spool = Spool(settings.spool.path)
    for row in rows:
        spool.remove(row.path)
    with ledger.write() as connection:
        connection.execute(instances.delete().where(instances.c.id.in_([row.id for row in rows])))
    return any(row.sop_uid == sop_uid for row in rows)


@contextmanager
def _associated(settings: Settings, sop_class: str) -> Iterator[Association]:
    listen = settings.listen
    host = settings.metrics.listener_host or ANYWHERE.get(listen.host, listen.host)
    address = Address(
        "the listener",
        listen.ae_title,
        host,
        listen.port,
        HEALTH_AE_TITLE,
        tls=listen.tls_certificate is not None,
        tls_ca=listen.tls_client_ca or listen.tls_certificate,
        tls_certificate=listen.tls_certificate,
        tls_key=listen.tls_key,
        answer_timeout_s=settings.metrics.health_timeout_s,
    )
    with associated(address, [(sop_class, [str(ExplicitVRLittleEndian)])]) as association:
        yield association
