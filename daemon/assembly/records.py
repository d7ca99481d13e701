"""The records that assembly takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from daemon.assembly.answers import Basis
from pipeline.catalog import InstanceFacts
from pipeline.records import Sequence

# In `Arrived.accepted`: whatever identities there are.
ANY_IDENTITY = "*"


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance of an exam as the ledger has it. `present`: its file is in the spool (not lost, not purged).

    `unreadable`: reading its file killed the process, so the file is set aside.
    """

    id: int
    facts: InstanceFacts
    digest: str
    received_at: float
    present: bool = True
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What an archive answers about an exam. `series`: (Series Instance UID, modality, instances or None).

    The keys are digests of Patient ID with issuer and without; None where it does not know the exam.
    """

    pacs: str
    asked_at: float
    patient_key: str | None = None
    patient_id_key: str | None = None
    series: tuple[tuple[str, str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance that is missing; without `sop_uid` a whole series, without `series_uid` too all images of a study."""

    study_uid: str
    series_uid: str = ""
    sop_uid: str = ""


@dataclass(frozen=True, slots=True)
class Proposed:
    """The newest proposal of regions for an exam: of which measurements (a digest), and what became of it in words.

    `rejected`: a reader does not want it, or what he did not want of it is all that lacks. `in_part`: he does not want
    some of it. `waits_as`: the SOP Instance UID under which it waits for a reader's word; empty where it does not, or
    he has said something. `evaluated`: a preliminary result was made of a proposal of this exam.
    """

    digest: str
    words: str
    rejected: bool = False
    waits_as: str = ""
    evaluated: bool = False
    in_part: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """An exam at the moment of judgement.

    `sending_at`: the last C-STORE of an association that is still open and whose last instance was of this exam.
    `accepted`: identities that an operator has accepted. `fetching`: what is being fetched for it, in words.
    `taken_as_ours`: an operator has confirmed that it is an exam of the breasts.
    `proposed`: None where no region was proposed yet.
    `identity`: the patient whose objects count where the same came under several. `comparing_since`: when an instance
    of it came again whose content is still to be compared. `answerable_since`: since when a signature can answer.
    `choices`: Series Instance UIDs that an operator chose, by sequence.
    """

    study_uid: str
    stored: tuple[Stored, ...]
    first_arrival_at: float
    last_arrival_at: float
    role: str = "current"
    accepted: frozenset[str] = frozenset()
    sending_at: float | None = None
    answers: tuple[Answer, ...] = ()
    fetching: str = ""
    taken_as_ours: bool = False
    identity: str | None = None
    comparing_since: float | None = None
    answerable_since: float | None = None
    proposed: Proposed | None = None
    choices: Mapping[Sequence, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of assembly. `due_at`: when to judge again by itself. `inputs`: (SOP UID, digest), sorted, as far
    as known.

    `context`: ids of all instances that matching looked at. `ask`: the archives should be asked about this exam.
    `wanted`: what would have to be fetched. `corrected`: an identity under which objects came again and that nobody has
    decided on; `identity`: the one that counts where there are several. `basis`: what an answer would rest on; None
    where that was not looked at, as `answerable_since` and `lacked` are then what they were. `lacked`: names of what
    the first signature in the written order reads and the exam does not have. `propose`: a digest of measurements of
    which regions should be proposed now.
    """

    state: str
    code: str = ""
    reason: str = ""
    due_at: float | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    context: tuple[int, ...] = ()
    flagged: str = ""
    role: str | None = None
    ask: bool = False
    wanted: tuple[Wanted, ...] = field(default=())
    corrected: str | None = None
    identity: str | None = None
    basis: Basis | None = None
    answerable_since: float | None = None
    lacked: tuple[str, ...] = ()
    propose: str = ""
