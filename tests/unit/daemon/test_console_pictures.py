"""Pictures and names for the console: what they show, and what becomes of a process that dies over a file."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from daemon.console import picture_process, pictures
from daemon.console.picture_process import PictureProcess, PicturesBusy
from pipeline.errors import ExamRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam


@pytest.fixture
def process() -> Iterator[PictureProcess]:
    made = PictureProcess()
    yield made
    made.close()


def die(_: str) -> None:
    os._exit(7)


def never_end(_: str) -> None:
    signal.pause()


def test_a_file_that_ends_its_reader_is_said_so_and_the_next_is_read(process: PictureProcess) -> None:
    with pytest.raises(ExamRejected, match="died of it"):
        process.ask(die, "a file")
    assert process.ask(len, "another") == 7


def test_a_file_that_takes_too_long_is_given_up(process: PictureProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.ask(len, "warm") == 4
    monkeypatch.setattr(picture_process, "LIMIT_S", 0.2)
    with pytest.raises(ExamRejected, match="was not read within"):
        process.ask(never_end, "a file")
    monkeypatch.setattr(picture_process, "LIMIT_S", 60.0)
    assert process.ask(len, "next") == 4


def test_of_very_many_requests_some_are_asked_to_come_back(process: PictureProcess) -> None:
    small = PictureProcess(most_waiting=1)
    assert small.ask(len, "warm") == 4
    refused: list[PicturesBusy] = []

    def ask() -> None:
        try:
            small.ask(never_end, "a file")
        except PicturesBusy as error:
            refused.append(error)
            small.close()  # ends the one that is being made
        except ExamRejected:
            pass

    # One is refused; the other is ended, or asked to come back where it had not begun yet.
    both = [threading.Thread(target=ask) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert refused
    assert process.ask(len, "next") == 4


def test_nobody_ends_the_process_between_its_choice_and_the_request(
    process: PictureProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that was ended takes nothing more, and its RuntimeError would be a page that failed."""
    pool, free = process._running(), list[bool]()
    submit = pool.submit

    def watched(work: Callable[[str], int], argument: str) -> Future[int]:
        other = threading.Thread(target=lambda: free.append(process._starting.acquire(blocking=False)))
        other.start()
        other.join()
        return submit(work, argument)

    monkeypatch.setattr(pool, "submit", watched)
    assert process.ask(len, "mine") == 4
    assert free == [False]


def test_who_waits_behind_a_file_that_ends_the_process_is_asked_to_come_back(process: PictureProcess) -> None:
    assert process.ask(len, "warm") == 4
    pool = process._running()
    before = [pool.submit(never_end, "a file") for _ in range(6)]
    pool.submit = lambda *_: before[-1]  # type: ignore[method-assign]
    process.close()
    process._pool = pool
    with pytest.raises(PicturesBusy, match="try again"):
        process.ask(len, "mine")
    process._pool = None


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=31, preset="small", laterality="L"))


def image_of(exam: PhantomExam) -> Path:
    return next(path for path in exam.paths if pydicom.dcmread(path, stop_before_pixels=True).Modality == "MR")


def test_a_tile_is_a_grey_picture_of_the_image(exam: PhantomExam) -> None:
    shown = Image.open(io.BytesIO(pictures.tile(image_of(exam), None)))
    assert max(shown.size) == pictures.TILE
    assert int(np.ptp(np.asarray(shown.convert("L")))) > 100


def test_an_image_that_cannot_be_decoded_is_said_so(exam: PhantomExam, tmp_path: Path) -> None:
    ds = pydicom.dcmread(image_of(exam))
    ds.PixelData = ds.PixelData[:10]
    damaged = tmp_path / "damaged.dcm"
    ds.save_as(damaged)
    with pytest.raises(ExamRejected, match="cannot be decoded"):
        pictures.tile(damaged, None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Wang^XiaoMei=王^小美=", "Wang XiaoMei · 王 小美"), ("", ""), ("Doe^Jane^^Dr", "Doe Jane  Dr"),
        ("<script>^x", "<script> x"),
    ],
)  # fmt: skip
def test_a_name_is_shown_in_each_of_its_scripts(exam: PhantomExam, tmp_path: Path, name: str, shown: str) -> None:
    ds = pydicom.dcmread(image_of(exam))
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", name
    path = tmp_path / "named.dcm"
    ds.PatientBirthDate, ds.StudyDate = "19740131", ""
    ds.save_as(path)
    patient = pictures.patient_of(path)
    assert patient["PatientName"] == shown
    assert (patient["PatientBirthDate"], patient["StudyDate"]) == ("1974-01-31", "")
