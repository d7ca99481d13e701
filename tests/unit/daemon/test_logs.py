"""Log lines: structured, one study's by its opaque id, and never a value from a data set."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from config.schema import Log
from daemon.logs import set_up


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was written to stderr since it was asked for last."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    with warnings.catch_warnings():
        yield lambda: capsys.readouterr().err
    root.handlers, root.level = handlers, level
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    for name in ("axrad", "pydicom", "pynetdicom", "highdicom", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stderr: Callable[[], str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr().splitlines()]


def test_a_line_is_one_json_object_with_time_level_process_and_study(stderr: Callable[[], str]) -> None:
    set_up(Log(format="json"), "work-analyse")
    structlog.get_logger("axrad.analyse").info("analysed", study="0123456789abcdef", seconds=1.5)
    (line,) = lines(stderr)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line.pop("timestamp"))
    assert line == {
        "event": "analysed",
        "level": "info",
        "process": "work-analyse",
        "study": "0123456789abcdef",
        "seconds": 1.5,
    }


def test_people_get_columns(stderr: Callable[[], str]) -> None:
    set_up(Log(format="human"), "up")
    structlog.get_logger("axrad.up").warning("process-died", name="listen")
    text = stderr()
    assert "process-died" in text
    assert "name=listen" in text
    assert "\x1b" not in text, "colours are for terminals"


def test_what_is_below_the_level_is_not_written(stderr: Callable[[], str]) -> None:
    set_up(Log(format="json", level="warning"), "up")
    structlog.get_logger("axrad.up").info("nothing")
    structlog.get_logger("axrad.up").warning("something")
    assert [line["event"] for line in lines(stderr)] == ["something"]


def test_an_exception_is_its_type_and_place_and_not_its_text(stderr: Callable[[], str]) -> None:
    set_up(Log(format="json"), "work")
    try:
        raise ValueError("Secret^Person")
    except ValueError:
        structlog.get_logger("axrad.work").error("broken", exc_info=True)
        logging.getLogger("some.library").exception("it broke")
    text = stderr()
    assert "Secret" not in text
    for line in map(json.loads, text.splitlines()):
        assert line["error"] == "ValueError"
        assert re.fullmatch(r"daemon/test_logs\.py:\d+", line["at"])


def test_libraries_that_quote_data_sets_are_silent(stderr: Callable[[], str]) -> None:
    set_up(Log(format="json", level="debug"), "work")
    for name in ("pydicom", "pynetdicom", "highdicom"):
        logging.getLogger(name).error("Invalid value for VR DA: '19600101'")
    warnings.warn_explicit("Invalid value for VR DA: '19600101'", UserWarning, "valuerep.py", 1, "pydicom.valuerep")
    assert stderr() == ""


@pytest.mark.parametrize("where", ["the process", "a thread"])
def test_what_nobody_catches_is_its_type_and_place_in_every_thread(where: str) -> None:
    program = """
import sys, threading
from config.schema import Log
from daemon.logs import guard_last_words, set_up

def choke():
    raise ValueError("Secret^Person")

set_up(Log(format="json"), "listen")
guard_last_words()
if sys.argv[1] == "a thread":
    thread = threading.Thread(target=choke)
    thread.start()
    thread.join()
else:
    choke()
"""
    done = subprocess.run([sys.executable, "-c", program, where], capture_output=True, text=True, check=False)
    (line,) = (json.loads(text) for text in done.stderr.splitlines())
    assert (line["event"], line["error"]) == ("died", "ValueError")
    assert "Secret" not in done.stdout + done.stderr
