"""The spool: what was received, on disk, and the journals that say so. The truth that the ledger is built from."""

from daemon.spool.incoming import Description, Incoming, Stored
from daemon.spool.instance_files import uid_hash
from daemon.spool.journal import Entry, JournalWriter, is_finished, journal_names, read_journals, retire
from daemon.spool.part10 import FileMeta, read_meta
from daemon.spool.store import Spool
from daemon.spool.sync import Syncer
from daemon.spool.uids import is_uid
from daemon.spool.usable import check_usable

__all__ = [
    "Description",
    "Entry",
    "FileMeta",
    "Incoming",
    "JournalWriter",
    "Spool",
    "Stored",
    "Syncer",
    "check_usable",
    "is_finished",
    "is_uid",
    "journal_names",
    "read_journals",
    "read_meta",
    "retire",
    "uid_hash",
]
