"""`axrad accept`: a reader's word for regions that were proposed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from daemon.cli.options import config_option


@click.command()
@config_option
@click.argument("study")
@click.option(
    "--roi",
    "roles",
    multiple=True,
    type=click.Choice(("tumor", "lymph_nodes")),
    help="Only this region; may be given twice.  [default: all that was proposed]",
)
def accept(config_path: Path | None, study: str, roles: tuple[str, ...]) -> None:
    """Accept the regions that were proposed for STUDY as they are, on behalf of a reader who has looked at them.

    They count from then on as if the reader had sent them; reports say what they were grown from and who accepted them.
    """
    from config.load import load
    from daemon import audit
    from daemon.audit_trail.operating_user import operating_user
    from daemon.indexing.indexer import index_once
    from daemon.ledger import existing_ledger, proposals, studies
    from daemon.ledger.keyed_digests import bring_all
    from daemon.ledger.site_key import key_for
    from daemon.ledger.states import MAY_BE_ACCEPTED
    from daemon.logs import set_up
    from daemon.share.exam_files import files_of
    from daemon.spool import JournalWriter, Spool
    from daemon.work.acceptance import accepted_copy
    from daemon.work.audit_events import named
    from daemon.work.proposal_files import FILE
    from pipeline.errors import InputRejected

    settings = load(config_path)
    set_up(settings.log, "accept")
    if settings.spool.remote:
        raise InputRejected(f"the spool is at {settings.spool.remote}: accept it there")
    ledger = existing_ledger(settings)
    with ledger.read() as connection:
        row = studies.find(connection, study)
        if row is None:
            raise InputRejected(f"the ledger knows no study {study}; `axrad studies` lists those it knows")
        proposal = proposals.newest(connection, row.id)
    path = files_of(settings).get(proposal.id, FILE) if proposal is not None else None
    if proposal is None or path is None or proposal.state not in MAY_BE_ACCEPTED:
        state = "nothing was proposed" if proposal is None else proposals.in_words(proposal)
        raise InputRejected(f"study {row.id} has no proposal that waits for a reader: {state}")
    who = operating_user()[0]
    key = key_for(settings, ledger, time.time())
    bring_all(ledger, key)
    spool = Spool(settings.spool.path)
    with tempfile.TemporaryDirectory(dir=spool.root) as folder:
        copy = Path(folder) / FILE
        labels = accepted_copy(path, copy, who, roles, settings, key.secret)
        journal = JournalWriter(spool.journal, "ACCEPT", "local")
        try:
            spool.ingest_file(copy, journal)
        finally:
            journal.close("released")
    with ledger.write() as connection:
        proposals.accept(connection, proposal, row.id, who, time.time())
    index_once(ledger, spool, time.time(), settings, key)
    about = named(settings, ledger, audit.Study(row.study_uid, {}, row.id))
    audit.operator_action(settings, "accept", about, ", ".join(labels))
    click.echo(f"accepted: {', '.join(labels)}")
