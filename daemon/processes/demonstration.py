"""The parts of `axrad demo`: everything real, on loopback, in one folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import textwrap
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

import sqlalchemy as sa
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from config.load import load
from config.schema import Settings
from daemon.export.association import Address, associated
from daemon.export.cstore import require_success
from daemon.ledger import Ledger, open_ledger, proposals
from daemon.ledger.rows import ProposalRow
from daemon.ledger.studies import find
from daemon.ledger.tables import revisions, studies
from daemon.ledger.views import timeline
from daemon.processes.supervisor import Supervisor, axrad_command, wait_for_port
from pipeline.errors import PeerUnreachable, TryLater
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements

REPORT_WITHIN_S = 600.0
STAGES = ("first-instance", "revision", "started", "analysed", "reported", "delivered")
STAGE_WORDS = {
    "first-instance": "images arriving",
    "revision": "exam complete, queued",
    "started": "analysing: N4, 5,178 features, signature",
    "analysed": "writing the report",
    "reported": "report made, sending",
    "not_evaluated": "report made (not evaluated), sending",
    "delivered": "report in the archive",
}


# The shipped signature was trained on drawn regions.
MEASURED = (
    'what = ["sr", "page", "proposal"]\n[proposal]\nenabled = true\nquiet_s = 3\n'
    '[signature]\nallow_origins = ["measured", "model"]\n'
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hanging(line: str, width: int) -> str:
    """A line broken between words; what follows stands deeper than its beginning."""
    deeper = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, width, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False)


class Archive:
    """A receiving archive: keeps every object it is sent, as a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def _store(self, event: Any) -> int:
        data = event.encoded_dataset()
        name = f"{event.request.AffectedSOPInstanceUID}.dcm"
        (self.folder / f".{name}").write_bytes(data)
        (self.folder / f".{name}").replace(self.folder / name)
        return 0x0000

    def reports(self) -> list[Path]:
        return self.of_modality("SR")

    def of_modality(self, modality: str) -> list[Path]:
        files = sorted(self.folder.glob("*.dcm"))
        return [p for p in files if dcmread(p, specific_tags=["Modality"]).Modality == modality]

    def stop(self) -> None:
        self._server.shutdown()


class Demonstration:
    """One run. Use as a context; `show` afterwards."""

    def __init__(self, out: Path, work: Path, seed: int, vendor: str, *, from_measurements: bool = False) -> None:
        self.out, self.work, self.from_measurements = out, work, from_measurements
        self.log = work / "daemon.log"
        self.console = Console(highlight=False)
        self.spec = PhantomSpec(seed=seed, vendor=vendor, with_seg=not from_measurements)  # type: ignore[arg-type]
        self.exam: PhantomExam | None = None
        self.files: tuple[Path, ...] = ()
        self.report: Path | None = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Demonstration:
        self.work.mkdir(parents=True, exist_ok=True)
        self.archive = Archive(self.work / "archive")
        self.port = free_port()
        self.config = self.work / "axrad.toml"
        self.config.write_text(
            f'[spool]\npath = "spool"\nrefuse_free_bytes = 268435456\n[listen]\nport = {self.port}\n'
            '[assembly]\nquiet_s = 5\nsweep_s = 0.5\n[log]\nlevel = "info"\n[metrics]\nenabled = false\n'
            '[[destination]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\n'
            f"port = {self.archive.port}\n" + (MEASURED if self.from_measurements else ""),
            encoding="utf-8",
        )
        self.settings: Settings = load(self.config, environ={})
        self.supervisor = Supervisor(self.settings, self.config, flower=False, output=self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        with self.console.status("ending everything in order"):
            self.supervisor.stop()
            self.archive.stop()

    def make_exam(self) -> None:
        with self.console.status("making a phantom exam (DCE, T2, DWI, ADC, ROIs)"):
            self.exam = write_exam(self.work / "exam", self.spec)
            measured = (write_measurements(self.exam),) if self.from_measurements else ()
            self.files = (*self.exam.paths, *measured)
        beside = ", and what a reader measured on it in OHIF" if measured else ""
        self.console.print(f"made a phantom exam of {len(self.exam.paths)} files{beside}")

    def start(self) -> None:
        with self.console.status("starting listener, workers, beat and an embedded broker"):
            self.supervisor.start()
            self._watcher = threading.Thread(target=self.supervisor.watch, args=(self._stop,))
            self._watcher.start()
            if not wait_for_port("127.0.0.1", self.port, 60):
                raise PeerUnreachable(f"the listener did not come up within a minute; see {self.log}")
        self.console.print(f"listener at 127.0.0.1:{self.port}, archive at 127.0.0.1:{self.archive.port}")

    def send(self) -> None:
        """One association for everything, as a scanner and a workstation would."""
        address = Address("the listener", self.settings.listen.ae_title, "127.0.0.1", self.port, "SCANNER")
        headers = [dcmread(p, stop_before_pixels=True, specific_tags=["SOPClassUID"]) for p in self.files]
        pairs = sorted({(str(h.SOPClassUID), str(h.file_meta.TransferSyntaxUID)) for h in headers})
        with self._bar() as bar, associated(address, [(a, [t]) for a, t in pairs]) as association:
            for path in bar.track(self.files, description="sending by C-STORE"):
                require_success(address, association.send_c_store(path))

    def accept_proposal(self) -> None:
        """Wait until regions are proposed, keep the segmentation as the archive has it, and accept it."""
        assert self.exam is not None
        ledger, end = open_ledger(self.settings), time.monotonic() + REPORT_WITHIN_S
        try:
            with self.console.status("waiting for a proposal"):
                while not (segmentations := self.archive.of_modality("SEG")):
                    if time.monotonic() > end:
                        raise TryLater(f"no proposal within {REPORT_WITHIN_S:.0f} s; see {self.log}")
                    time.sleep(0.2)
                while (row := self._proposal(ledger)) is None or row.state == "pending":
                    time.sleep(0.2)
        finally:
            ledger.close()
        shutil.copyfile(segmentations[0], self.out / "proposal.dcm")
        labels = [str(s.SegmentLabel) for s in dcmread(self.out / "proposal.dcm").SegmentSequence]
        self.console.print(f"proposed, in the archive and not evaluated: {'; '.join(labels)}")
        order = [*axrad_command(), "accept", row.study_id, "--config", str(self.config)]
        accepted = subprocess.run(order, capture_output=True, text=True, check=False)
        if accepted.returncode:
            raise TryLater(f"the proposal was not accepted: {accepted.stderr.strip()}")
        self.console.print("accepted by `axrad accept`, as for a reader who has looked at it")

    def _proposal(self, ledger: Ledger) -> ProposalRow | None:
        assert self.exam is not None
        with ledger.read() as connection:
            row = find(connection, self.exam.study_uid)
            return None if row is None else proposals.newest(connection, row.id)

    def wait(self) -> None:
        """Follow the ledger until the report has come back."""
        assert self.exam is not None
        ledger = open_ledger(self.settings)
        end = time.monotonic() + REPORT_WITHIN_S
        try:
            with self._bar() as bar:
                task = bar.add_task("waiting for the report", total=len(STAGES))
                while not self.archive.reports():
                    if time.monotonic() > end:
                        raise TryLater(f"no report within {REPORT_WITHIN_S:.0f} s; see {self.log}")
                    self._follow(ledger, bar, task)
                    time.sleep(0.2)
                bar.update(task, completed=len(STAGES), description=STAGE_WORDS["delivered"])
            self._collect(ledger)
        finally:
            ledger.close()

    def _follow(self, ledger: Ledger, bar: Progress, task: TaskID) -> None:
        assert self.exam is not None
        with ledger.read() as connection:
            row = find(connection, self.exam.study_uid)
            kinds = [] if row is None else [e["kind"] for e in timeline(connection, row)["events"]]
        if row is not None and row.state == "failed":
            raise TryLater(f"the study was set aside: {row.reason}; see {self.log}")
        reached = [kind for kind in kinds if kind in STAGE_WORDS]
        if reached:
            place = STAGES.index(reached[-1]) + 1 if reached[-1] in STAGES else len(STAGES) - 1
            bar.update(task, completed=place, description=STAGE_WORDS[reached[-1]])

    def _collect(self, ledger: Ledger) -> None:
        """What came back over the network, and what the daemon keeps beside it."""
        assert self.exam is not None
        (self.report,) = self.archive.reports()
        with ledger.read() as connection:
            revision = connection.execute(
                sa.select(revisions.c.id)
                .join(studies, studies.c.id == revisions.c.study_id)
                .where(studies.c.study_uid == self.exam.study_uid)
            ).scalar_one()
        results = self.settings.spool.path / "results" / revision
        shutil.copyfile(self.report, self.out / "sr.dcm")
        for name in ("page.pdf", "page.png", "result.json"):
            shutil.copyfile(results / name, self.out / name)

    def show(self) -> None:
        """The report's own text."""
        from dicom_sr.plain_text import report_text

        self.console.print()
        width = min(self.console.width, 120)
        for line in report_text((self.out / "sr.dcm").read_bytes()).splitlines():
            self.console.print(hanging(line, width), markup=False, soft_wrap=True)
        result = json.loads((self.out / "result.json").read_text())
        self.console.print(f"\nstatus: {result['status']}; truth of this phantom: {self._truth()}")

    def _truth(self) -> str:
        return "node-positive" if self.spec.drawn().node_positive else "node-negative"

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
