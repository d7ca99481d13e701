"""Many lines of journals at once: the same rows as `arrival_steps.take_one_by_one`, by a dozen statements for all.

What is common (images and what is of no use, new or with another data set under the same UID) is written together.
What is rare is recorded by itself, in its place: ROIs, registrations and measurements, files that are torn or come
back, the first image of a ROI that was filed elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

import sqlalchemy as sa

from daemon.assembly.duplicates import CONTENT_TAG
from daemon.ledger.accessions import Numbered, add_accessions
from daemon.ledger.arrival_steps import Step, take_one
from daemon.ledger.chunks import in_chunks
from daemon.ledger.comparisons import request_comparisons
from daemon.ledger.engine import Note, note_all
from daemon.ledger.instances import NOT_USED, OUR_RESULT, Arrival, columns_of, is_relevant, resent_changed, unreadable
from daemon.ledger.moves import add_all
from daemon.ledger.open_associations import OpenAssociations
from daemon.ledger.packed_exams import unpack_for
from daemon.ledger.roi_filing import first_images
from daemon.ledger.states import CountsAs
from daemon.ledger.study_touches import StudyTouches
from daemon.ledger.tables import instances


def take_all(connection: sa.Connection, steps: Sequence[Step]) -> set[str]:
    """The exams that something arrived of."""
    exams: set[str] = set()
    for alone, group in groupby(steps, _is_rare):
        some = list(group)
        if alone:
            exams |= {exam for step in some if (exam := take_one(connection, step)) is not None}
        else:
            exams |= _take_group(connection, some)
    return exams


def _is_rare(step: Step) -> bool:
    """Whether its arrival is recorded by itself, whatever is in the ledger."""
    arrival = step.arrival
    if arrival is None:
        return False
    facts = arrival.facts
    if arrival.torn:
        return True
    return facts is not None and is_relevant(facts) and (not facts.is_image or bool(facts.references))


def _take_group(connection: sa.Connection, steps: Sequence[Step]) -> set[str]:
    arrivals = [step.arrival for step in steps if step.arrival is not None]
    unpack_for(connection, (a.facts for a in arrivals if a.facts is not None))
    digests = _digests(connection, {a.sop_uid for a in arrivals})
    study_of: dict[str, str] = {}
    for arrival in arrivals:
        if arrival.facts is not None and arrival.facts.is_image:
            study_of.setdefault(arrival.sop_uid, arrival.facts.ref.study_uid)
    alone = _known_already(arrivals, digests) | first_images(connection, study_of)
    exams: set[str] = set()
    for is_alone, run in groupby(steps, lambda s: s.arrival is not None and s.arrival.sop_uid in alone):
        if is_alone:
            exams |= {exam for step in run if (exam := take_one(connection, step)) is not None}
        else:
            exams |= _Run(connection, list(run), digests).take()
    return exams


def _digests(connection: sa.Connection, sop_uids: set[str]) -> dict[str, set[str]]:
    """The data sets in the ledger under each UID."""
    digests: dict[str, set[str]] = defaultdict(set)
    for some in in_chunks(sorted(sop_uids)):
        rows = connection.execute(
            sa.select(instances.c.sop_uid, instances.c.digest).where(instances.c.sop_uid.in_(some))
        )
        for sop_uid, digest in rows:
            digests[sop_uid].add(digest)
    return digests


def _known_already(arrivals: Sequence[Arrival], digests: dict[str, set[str]]) -> set[str]:
    """UIDs of which a data set is in the ledger or comes twice here."""
    seen, repeated = set(), set()
    for arrival in arrivals:
        data_set = (arrival.sop_uid, arrival.digest)
        if data_set in seen or arrival.digest in digests.get(arrival.sop_uid, ()):
            repeated.add(arrival.sop_uid)
        seen.add(data_set)
    return repeated


class _Run:
    """Lines whose arrivals are all new data sets and need no look at single rows.

    `digests`: the data sets under each UID so far; those that come are added to it.
    """

    def __init__(self, connection: sa.Connection, steps: Sequence[Step], digests: dict[str, set[str]]) -> None:
        self._connection, self._steps, self._digests = connection, steps, digests
        self._notes: list[Note] = []
        self._compare: dict[str, float] = {}
        self._exams: set[str] = set()
        self._numbered: set[Numbered] = set()
        self._open = OpenAssociations(connection, {s.association for s in steps})
        coming = {s.arrival.facts.ref.study_uid for s in steps if s.arrival is not None and s.arrival.facts is not None}
        self._studies = StudyTouches(connection, coming | self._open.exams, self._notes)

    def take(self) -> set[str]:
        """Write the lines; the exams that something arrived of."""
        add_all(self._connection, "instance", self._rows())
        request_comparisons(self._connection, self._compare)
        self._studies.write()
        add_accessions(self._connection, self._numbered)
        note_all(self._connection, self._notes)
        self._open.write()
        return self._exams

    def _rows(self) -> Iterator[tuple[str, dict[str, object]]]:
        """State and columns of each new instance, in the order of the lines. Their other effects are noted."""
        for step in self._steps:
            exam_uid = None
            if step.arrival is not None:
                state, columns, exam_uid = self._row(step.arrival)
                yield state, columns
            if exam_uid is not None:
                self._exams.add(exam_uid)
                self._open.arriving(step.association, exam_uid, step.at)
            elif step.sending:
                self._open.sending(step.association, step.at)
            if step.ended and (last := self._open.end(step.association)) is not None:
                self._studies.judge_again(last)

    def _row(self, arrival: Arrival) -> tuple[str, dict[str, object], str | None]:
        """As `daemon.ledger.instances.record`: state, columns, and the exam, of what is part of one."""
        facts = arrival.facts
        others = self._digests[arrival.sop_uid]
        came_before = bool(others)
        others.add(arrival.digest)
        if facts is None:
            self._notes.append(unreadable(arrival))
            return "unreadable", columns_of(arrival), None
        if facts.ours:
            return "ignored", columns_of(arrival, OUR_RESULT, CountsAs.RESULT), None
        if not is_relevant(facts):
            return "ignored", columns_of(arrival, NOT_USED, CountsAs.OTHERS), None
        exam_uid = facts.ref.study_uid
        if came_before:
            if CONTENT_TAG not in facts.tags:
                self._compare[arrival.sop_uid] = arrival.at
            self._notes.append(resent_changed(arrival, exam_uid, self._studies.id_of(exam_uid)))
        patient = (facts.patient_key, arrival.key_id)
        self._studies.touch(exam_uid, patient, arrival.at, arrival.priority, backfill=arrival.backfill)
        self._numbered.add((exam_uid, arrival.accession, arrival.key_id))
        return "stored", columns_of(arrival), exam_uid
