"""Whether this machine has the site's key that the ledger's digests were made with."""

from __future__ import annotations

import sqlalchemy as sa

from config.schema import Settings
from daemon.finding import Finding, briefly
from daemon.ledger.engine import backups_folder
from daemon.ledger.migrations import copies_before_upgrades
from daemon.ledger.site_key import SiteKeyTrouble, id_in, path_of, read


def site_key(connection: sa.Connection, settings: Settings) -> Finding:
    path, needed = path_of(settings), id_in(connection)
    try:
        key = read(path)
    except SiteKeyTrouble as error:
        return Finding("site-key", "fail", error.message, "put the site's key there; `axrad site-key` names it")
    if needed is None:
        return Finding("site-key", "ok", "the ledger has no digests under a key yet; the first start makes one")
    if key is not None and key.id == needed:
        return _copies_with_plain_digests(settings) or Finding(
            "site-key", "ok", f"{path} is the ledger's key {needed}; no unencrypted backup holds it"
        )
    if key is None and settings.spool.remote:
        return Finding("site-key", "ok", f"the ledger's key {needed} is not needed by a machine that receives nothing")
    what = "there is no" if key is None else f"key {key.id} instead of the"
    remedy = f"copy it to {path} from another machine of the site or from where it was put aside; nothing new is read"
    return Finding("site-key", "fail", f"{what} ledger's key {needed} at {path}", f"{remedy} until then")


def _copies_with_plain_digests(settings: Settings) -> Finding | None:
    """Copies of the ledger from before its digests came under the key undo it for whoever gets hold of them."""
    plain = [copy.path for copy in copies_before_upgrades(backups_folder(settings)) if copy.has_plain_digests]
    if not plain:
        return None
    goes = "retention removes it in time" if settings.retention.enabled else "retention is off, so it stays"
    text = f"patients' ids can be found by trying from {briefly(list(map(str, plain)))}, the ledger before its upgrade"
    return Finding("site-key", "warn", f"{text}; {goes}", "delete it as soon as you need no way back to that version")
