"""The spools of a ledger: which folder each is, where results lie, and data sets that lie in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema import Settings
from config.schema.values import MAIN_SPOOL
from daemon.ledger.chunks import in_chunks
from daemon.ledger.engine import Ledger, note
from daemon.ledger.heartbeats import SPOOL_SIGN, forget, signs_of
from daemon.ledger.open_associations import associations_ended
from daemon.ledger.states import IN_SPOOL, REMOVED
from daemon.ledger.tables import copies, instances, journal_positions, proposals, revisions, spools
from daemon.ledger.tables.columns import HERE
from daemon.spool import Spool
from daemon.spool.identity import SpoolRefused, name_of, require_id

REPLACE = "`axrad spools --replace`, on this machine, puts this folder in its place, and what lay in the other is lost"


def own_spool(settings: Settings, ledger: Ledger, now: float) -> Spool:
    """This machine's spool, which the ledger knows by its id and folder from the first use on.

    Raises SpoolRefused: the folder is another spool, or the ledger knows another folder under this id.
    """
    spool = Spool(settings.spool.path, settings.spool.id)
    with ledger.read() as connection:
        known = folder_of(connection, spool.id)
    if known is None or require_id(spool.root, spool.id) != known:
        _introduce(settings, ledger, spool, known, now)
    return spool


def _introduce(settings: Settings, ledger: Ledger, spool: Spool, known: str | None, now: float) -> None:
    name = require_id(spool.root, spool.id)
    # A ledger without a URL lies beside its spool: nobody else's folder can be meant.
    if known is not None and settings.ledger.url is not None:
        what = "was never used as a spool" if name is None else "is another one"
        raise SpoolRefused(
            f"the ledger knows another folder as the spool {spool.id}, and {spool.root} {what}. Is it not mounted? "
            f"Does another host have the same spool.id? If the other folder is gone for good, {REPLACE}"
        )
    with ledger.read() as connection:
        if known is None and spool.id != MAIN_SPOOL and _is_left_behind(connection):
            raise SpoolRefused(
                f"files of this ledger lie in the spool {MAIN_SPOOL}, which was the only one so far: leave spool.id of "
                "that folder as it was, and start that machine first"
            )
    put(ledger, spool, now)


def put(ledger: Ledger, spool: Spool, now: float) -> None:
    """Have the ledger know this folder under its id, whatever it knew before. Raises SpoolRefused where another process
    brings another folder at the same time."""
    name = name_of(spool.root, spool.id)
    with ledger.write() as connection:
        known = connection.execute(
            sa.select(spools.c.folder).where(spools.c.id == spool.id).with_for_update()
        ).scalar_one_or_none()
        if known == name:
            return
        connection.execute(spools.delete().where(spools.c.id == spool.id))
        try:
            with connection.begin_nested():
                connection.execute(spools.insert().values(id=spool.id, folder=name, since=now))
        except sa.exc.IntegrityError:
            raise SpoolRefused(f"two folders are brought as the spool {spool.id} at the same time") from None


def folder_of(connection: sa.Connection, spool_id: str) -> str | None:
    """The name of the folder that the ledger knows under this id."""
    return connection.execute(sa.select(spools.c.folder).where(spools.c.id == spool_id)).scalar_one_or_none()


def _is_left_behind(connection: sa.Connection) -> bool:
    """Whether files lie in the spool of before there were several, which nobody has brought yet."""
    if folder_of(connection, MAIN_SPOOL) is not None:
        return False
    with_file = sa.select(instances.c.id).where(HERE, instances.c.spool == MAIN_SPOOL).limit(1)
    return connection.execute(with_file).first() is not None


@dataclass(frozen=True, slots=True)
class KnownSpool:
    """A spool of the ledger. `seen_at`: the last sign of its indexer, None where it never gave one."""

    id: str
    since: float
    seen_at: float | None


def known_spools(connection: sa.Connection) -> list[KnownSpool]:
    signs = {sign.name: sign.at for sign in signs_of(connection, SPOOL_SIGN)}
    rows = connection.execute(sa.select(spools).order_by(spools.c.id)).all()
    return [KnownSpool(row.id, row.since, signs.get(f"{SPOOL_SIGN}:{row.id}")) for row in rows]


def gone_with(connection: sa.Connection, spool_id: str) -> list[int]:
    """Ids of the instances whose files are gone with a spool, to be marked as lost before it is given up: a command
    that is killed in between is repeated."""
    connection.execute(copies.delete().where(copies.c.spool == spool_id))
    there = (instances.c.spool == spool_id) & HERE
    return list(connection.execute(sa.select(instances.c.id).where(there, instances.c.state.in_(IN_SPOOL))).scalars())


def give_up(connection: sa.Connection, spool_id: str, home_id: str, now: float) -> None:
    """Forget a spool that is gone for good. Results that lay there are missed in `home_id`, and are made again where
    somebody still waits for them."""
    there = (instances.c.spool == spool_id) & HERE
    # What retention was removing there is gone: the next round says so.
    connection.execute(instances.update().where(there, instances.c.state == "purging").values(spool=home_id))
    for table in (revisions, proposals):
        connection.execute(table.update().where(table.c.spool == spool_id).values(spool=home_id))
    names = connection.execute(sa.select(journal_positions.c.name).where(journal_positions.c.spool == spool_id))
    open_ones = [name.removesuffix(".jsonl") for name in names.scalars()]
    connection.execute(journal_positions.delete().where(journal_positions.c.spool == spool_id))
    for some in in_chunks(open_ones):
        associations_ended(connection, some)
    connection.execute(spools.delete().where(spools.c.id == spool_id))
    forget(connection, f"{SPOOL_SIGN}:{spool_id}")
    note(connection, now, "spool-given-up", f"the spool {spool_id} is gone for good")


def home_in(ledger: Ledger) -> Callable[[str], str | None]:
    """In which spool the results of a revision, or the files of a proposal, lie."""

    def home_of(row_id: str) -> str | None:
        with ledger.read() as connection:
            for table in (revisions, proposals):
                home = connection.execute(sa.select(table.c.spool).where(table.c.id == row_id)).scalar_one_or_none()
                if home is not None:
                    return str(home)
        return None

    return home_of


def add_copy(connection: sa.Connection, instance_id: int, spool_id: str) -> None:
    """The data set lies in this spool as well. Safe to repeat."""
    if not is_copied(connection, instance_id, spool_id):
        connection.execute(copies.insert().values(instance_id=instance_id, spool=spool_id))


def forget_copies(connection: sa.Connection, instance_ids: Iterable[int], spool_id: str | None = None) -> None:
    """In one spool, or in all."""
    for some in in_chunks(instance_ids):
        of_them = copies.c.instance_id.in_(some)
        connection.execute(
            copies.delete().where(of_them if spool_id is None else of_them & (copies.c.spool == spool_id))
        )


def is_copied(connection: sa.Connection, instance_id: int, spool_id: str) -> bool:
    of_it = (copies.c.instance_id == instance_id) & (copies.c.spool == spool_id)
    return connection.execute(sa.select(copies.c.spool).where(of_it)).first() is not None


def replaced_by_copies(connection: sa.Connection, instance_ids: Iterable[int], now: float) -> set[int]:
    """Instances whose file vanished and that lie in a further spool: that one has them from now on."""
    replaced = set()
    for some in in_chunks(instance_ids):
        rows = connection.execute(
            sa.select(copies.c.instance_id, sa.func.min(copies.c.spool).label("spool"))
            .join(instances, instances.c.id == copies.c.instance_id)
            .where(copies.c.instance_id.in_(some), instances.c.state.in_(IN_SPOOL))
            .group_by(copies.c.instance_id)
        ).all()
        for row in rows:
            connection.execute(instances.update().where(instances.c.id == row.instance_id).values(spool=row.spool))
            forget_copies(connection, [row.instance_id], row.spool)
            replaced.add(int(row.instance_id))
    if replaced:
        note(connection, now, "copies-used", f"the files of {len(replaced)} instances are gone; other spools have them")
    return replaced


def copies_in(spool_id: str) -> sa.Select[tuple[int, str]]:
    """Id and path of instances whose file lies in this spool as well as in their own."""
    of_copies = sa.select(instances.c.id, instances.c.path).join(copies, copies.c.instance_id == instances.c.id)
    return of_copies.where(copies.c.spool == spool_id)


def copies_going(connection: sa.Connection, spool_id: str, limit: int) -> list[tuple[int, str]]:
    """Id and path of instances that retention removes or has removed, and that lie in this spool as well."""
    rows = connection.execute(copies_in(spool_id).where(instances.c.state.in_(REMOVED)).limit(limit))
    return [(row.id, row.path) for row in rows]
