"""Senders that go on until everything was answered with success."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

from daemon.spool import read_meta
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, command, p_data_tf, pdv, store_command
from tests.support.line import RELEASE_RQ, Line, rq_for
from tests.support.listening import VERIFICATION
from tests.support.poison import poison
from tests.support.waiting import PATIENCE, Patience, own_clock

# What a conversation with a listener that dies may end with.
BROKEN = (OSError, AssertionError, IndexError, KeyError)
PIECE = 1 << 16

# Ticks without one acknowledged file after which a sender gives up: a whole restart of the daemon, twice.
SENDERS_PATIENCE = 2 * PATIENCE


class Sender(threading.Thread):
    """Sends files by storescu until each was answered with success, and never one that was."""

    def __init__(self, name: str, port: int, files: Sequence[Path]) -> None:
        super().__init__(name=name)
        self.files = list(files)
        self.acknowledged: list[Path] = []
        self.calls = 0
        self._port = port

    def run(self) -> None:
        patience = Patience(SENDERS_PATIENCE)
        left = self.files
        while left and patience.tick(len(self.acknowledged)):
            self.acknowledged += self._send(left[:120])
            done = set(self.acknowledged)
            left = [path for path in self.files if path not in done]

    def leave(self) -> None:
        """Everything was sent, or given up."""
        self.join()

    def _send(self, files: Sequence[Path]) -> list[Path]:
        self.calls += 1
        options = ["-v", "-R", "-to", "5", "-ta", "10", "-td", "15"]
        titles = ["-aet", self.name, "-aec", "AXRAD"]
        told = subprocess.run(
            ["storescu", *options, *titles, "127.0.0.1", str(self._port), *map(str, files)],
            env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        acknowledged: list[Path] = []
        sending = None
        for line in (told.stdout + told.stderr).splitlines():
            if line.startswith("I: Sending file: "):
                sending = Path(line.removeprefix("I: Sending file: "))
            elif line.startswith("I: Received Store Response (Success)") and sending is not None:
                acknowledged.append(sending)
        return acknowledged


@dataclass(frozen=True)
class At:
    """Where a listener is."""

    port: int


def store(line: Line, raw: bytes) -> int:
    """Send a file's data set as it is on context 1; the status that answers it."""
    meta = read_meta(BytesIO(raw))
    line.send(p_data_tf(pdv(1, 3, store_command(meta.sop_instance_uid, sop_class_uid=meta.sop_class_uid))))
    data_set = raw[meta.data_set_offset :]
    for start in range(0, len(data_set), PIECE):
        line.send(p_data_tf(pdv(1, 0, data_set[start : start + PIECE])))
    line.send(p_data_tf(pdv(1, 2, b"")))
    return line.status()


class PlainSender(Sender):
    """Sends each data set as it lies in its file, whatever the transfer syntax, and never looks into it."""

    def _send(self, files: Sequence[Path]) -> list[Path]:
        self.calls += 1
        acknowledged: list[Path] = []
        raw = {path: path.read_bytes() for path in files}
        with suppress(*BROKEN):
            for (sop_class, syntax), group in groupby(
                sorted(files, key=lambda p: kind_of(raw[p])), lambda p: kind_of(raw[p])
            ):
                with Line(At(self._port)) as line:
                    line.send(rq_for(sop_class, syntax, ae_title=self.name.encode()))
                    assert line.pdu()[0] == 2
                    acknowledged.extend(path for path in group if store(line, raw[path]) == 0)
                    line.send(RELEASE_RQ)
        return acknowledged


def kind_of(raw: bytes) -> tuple[str, str]:
    """SOP class and transfer syntax of a file."""
    meta = read_meta(BytesIO(raw))
    return meta.sop_class_uid, meta.transfer_syntax_uid


class Poisoner(threading.Thread):
    """Sends each file of a poisonous study until it was answered, whatever the answer."""

    def __init__(self, port: int, kind: str, study: str) -> None:
        super().__init__(name=f"poison {kind}", daemon=True)
        self.kind, self.study = kind, study
        self.answers: list[int] = []
        # SOP Instance UIDs of what was answered with success.
        self.taken: list[str] = []
        self._at = At(port)

    def run(self) -> None:
        for raw in poison(self.kind, self.study).files:
            patience = Patience(SENDERS_PATIENCE)
            while patience.tick(len(self.answers)):
                try:
                    self.answers.append(self._send(raw))
                    break
                except BROKEN:
                    continue

    def leave(self) -> None:
        self.join()

    def _send(self, raw: bytes) -> int:
        meta = read_meta(BytesIO(raw))
        with Line(self._at) as line:
            line.send(rq_for(meta.sop_class_uid, meta.transfer_syntax_uid, ae_title=b"POISON"))
            assert line.pdu()[0] == 2
            status = store(line, raw)
            if status == 0:
                self.taken.append(meta.sop_instance_uid)
            line.send(RELEASE_RQ)
            return status


class KeptOpen(Sender):
    """A sender whose last image comes on an association that it keeps open by C-ECHO until it is told to go."""

    def __init__(self, name: str, port: int, files: Sequence[Path]) -> None:
        # Of the kind that a line's association is for.
        last = next(path for path in reversed(files) if kind_of(path.read_bytes()) == (MR_IMAGE, EXPLICIT_LE))
        super().__init__(name, port, [path for path in files if path != last])
        self._last = last
        self._leave = threading.Event()
        self.echoes = 0

    def run(self) -> None:
        super().run()
        self.files.append(self._last)
        patience = Patience(SENDERS_PATIENCE)
        while not self._leave.is_set() and patience.tick((len(self.acknowledged), self.echoes)):
            try:
                self._keep_open()
            except BROKEN:
                continue

    def leave(self) -> None:
        self._leave.set()
        self.join()

    def _keep_open(self) -> None:
        with Line(At(self._port)).associated() as line:
            if store(line, self._last.read_bytes()) == 0 and self._last not in self.acknowledged:
                self.acknowledged.append(self._last)
            while not self._leave.is_set():
                line.send(p_data_tf(pdv(3, 3, command(e0002=VERIFICATION, e0100=0x0030, e0110=9, e0800=0x0101))))
                assert line.status() == 0
                self.echoes += 1
                own_clock().sleep(0.5)
            line.send(RELEASE_RQ)
