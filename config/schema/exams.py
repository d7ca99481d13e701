"""What becomes of an exam: assembly, fetching, work, cleaning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from config.schema.base import Section
from config.schema.values import Hours, InFile, Sequence


class Assembly(Section):
    """When an exam is complete.

    What a signature in use reads must be here. `require_rois`, `require_sequences`: what must be here besides, whatever
    the signatures read. A sequence that only a better answer reads is waited for `prefer_complete_s` from when an
    answer first became possible, and not at all where the archive has no more of the exam. `prefer_regions_s`: regions
    of `require_rois` are waited for so long instead of without end; unset: without end. `quiet_s` without arrivals, and
    it is complete; `settle_s` are enough where associations are closed and a [[pacs]] that can `find` has no more of
    it. One that does not answer is waited for `ask_patience_s`. An open association is waited for until a minute after
    its last image, and no longer than `max_wait_s` after the exam's last image. `max_instances`: an exam with more
    instances, or more frames, is held for an operator unread. `max_age_days`: an exam that is older when it arrives is
    a prior and not reported. `exam_rules`: a site's own rules on which exams show another part of the body, laid over
    `config/exam_rules.toml`. `join`: what two studies of one patient must have in common to be one exam; nothing: they
    never are. `follow_corrections`: an exam that came again under another Patient ID after its report is reported anew
    under it, without an operator, where the archives that are asked (C-FIND) have it so.
    """

    quiet_s: float = Field(120.0, ge=0)
    settle_s: float = Field(10.0, ge=0)
    ask_patience_s: float = Field(900.0, ge=0)
    max_wait_s: float = Field(900.0, ge=0)
    max_instances: int = Field(20000, ge=1)
    give_up_days: float = Field(14.0, gt=0)
    max_age_days: float | None = Field(None, ge=0)
    require_sequences: tuple[Sequence, ...] = ()
    require_rois: tuple[Literal["tumor", "lymph_nodes"], ...] = ("tumor", "lymph_nodes")
    prefer_complete_s: float = Field(1800.0, ge=0)
    prefer_regions_s: float | None = Field(None, ge=0)
    exam_rules: InFile | None = None
    join: tuple[Literal["study_date", "frame_of_reference", "scanner"], ...] = ()
    sweep_s: float = Field(2.0, gt=0)
    follow_corrections: bool = False


class Proposal(Section):
    """Regions proposed where a reader measured and nobody drew. Off unless `enabled`.

    Measurements of others (TID 1500 reports, presentation states) then count like regions for waiting, asking and
    fetching. When nothing was measured for `quiet_s`, the regions grown from them are sent to each destination with
    "proposal" in `what`, and the exam waits until a reader confirms them. With `evaluate = "preliminary"` a result is
    made of them before, of a tumour or of lymph nodes whose regions are all of quality good; it goes only to
    destinations with `preliminary = true`, and a confirmed one takes its place.

    `from_images`: what is proposed where nobody has drawn or measured anything: nothing (`off`), the largest part of
    each breast that enhances (`enhancement`, functional tumour volume), or what a site's own network finds. It is
    always doubtful. A voxel enhances if its percent enhancement is at least `pe_percent` and its signal enhancement
    ratio at least `ser_least`. The phase nearest `early_s` after injection is the early one, the phase nearest `late_s`
    the late one. Parts smaller than `ftv_least_cc` are not proposed.

    `model`: the card of a site's own network, a TOML file beside the network. It runs in a process of its own, which
    may take `model_memory_bytes` and `model_time_s` of processor time, and less than an exam.
    """

    enabled: bool = False
    quiet_s: float = Field(300.0, ge=0)
    evaluate: Literal["confirmed", "preliminary"] = "confirmed"
    from_images: Literal["off", "enhancement", "model"] = "off"
    pe_percent: float = Field(70.0, gt=0, le=1000)
    ser_least: float = Field(0.0, ge=0, le=10)
    early_s: float = Field(150.0, gt=0, le=600)
    late_s: float = Field(450.0, gt=0, le=1800)
    ftv_least_cc: float = Field(0.3, gt=0)
    model: InFile | None = None
    model_time_s: float = Field(300.0, gt=0)
    model_memory_bytes: int = Field(4 * 1024**3, ge=64 * 1024**2)

    @model_validator(mode="after")
    def _goes_together(self) -> Proposal:
        if self.from_images == "model" and self.model is None:
            raise ValueError('from_images: "model" needs the card of a model; set proposal.model')
        if self.late_s <= self.early_s:
            raise ValueError("late_s: it must be later than early_s")
        return self


class Fetch(Section):
    """Images that are missing are fetched from every [[pacs]] that can `move`, `get` or has a `dicomweb_url`.

    `how`: in which order the ways are tried. C-MOVE sends to `listen.ae_title`, which the archive must know. At most
    `attempts`, `backoff_s` apart and doubling up to an hour; an archive that does not answer is asked on, hourly, while
    the exam waits. Never more than `max_instances` at once. `max_priors`: how many earlier exams of the patient `axrad
    fetch --priors` asks for.
    """

    enabled: bool = True
    how: tuple[Literal["move", "get", "wado"], ...] = ("move", "get", "wado")
    attempts: int = Field(8, ge=1)
    backoff_s: float = Field(30.0, gt=0)
    max_instances: int = Field(20000, ge=1)
    max_priors: int = Field(3, ge=1)
    answer_timeout_s: float = Field(120.0, gt=0)


class Retention(Section):
    """What is cleaned from the spool: files of exams that are done and of which nothing came for `keep_days`.

    Below `keep_free_bytes` (default: `spool.warn_free_bytes`) also younger ones, the oldest first, down to
    `at_least_days`. `enabled = false` keeps everything.

    The ledger's rows of exams whose files are gone and of which nothing came for `pack_days` are packed, exam by exam,
    and unpacked when something comes for them or is done with them ([packed](scaling.md#packed-exams)); unset: never.
    """

    enabled: bool = True
    keep_days: float = Field(30.0, ge=0)
    at_least_days: float = Field(1.0, ge=0)
    keep_free_bytes: int | None = Field(None, ge=0)
    every_s: float = Field(600.0, gt=0)
    pack_days: float | None = Field(None, ge=0)


class UrgentRule(Section):
    """Exams that are urgent for where they come from: patterns with * and ?, in any case; all given must match.

    `calling_ae`: who sent it; `station`, `department`, `service`: Station Name, Institutional Department Name,
    Requesting Service.
    """

    calling_ae: str | None = None
    station: str | None = None
    department: str | None = None
    service: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> UrgentRule:
        if not any((self.calling_ae, self.station, self.department, self.service)):
            raise ValueError("a rule needs one of calling_ae, station, department, service")
        return self


class Work(Section):
    """What an exam may cost, and who comes first.

    An exam that takes longer than `time_limit_s` or more memory than `max_memory_bytes` is stopped, its process
    replaced, and the exam set aside after `attempts`. `queue_ahead`: messages in the broker beyond one per worker
    process. A step of priority is worth `head_start_s` of waiting. `background_hours`: when backfills run, as
    "22:00-06:00" in the site's time zone; empty: whenever nothing else waits.
    """

    processes: int = Field(1, ge=1)
    lease_s: float = Field(120.0, gt=0)
    time_limit_s: float = Field(900.0, gt=0)
    max_memory_bytes: int | None = Field(8 * 1024**3, ge=64 * 1024**2)
    attempts: int = Field(3, ge=1)
    backoff_s: float = Field(10.0, ge=0)
    threads: int | None = Field(None, ge=1)
    queue_ahead: int = Field(2, ge=1)
    head_start_s: float = Field(4 * 3600.0, gt=0)
    urgent: tuple[UrgentRule, ...] = ()
    background_hours: tuple[Hours, ...] = ()
