"""Messages of this version, of an older and of a newer one, and what is no message at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.schema import Settings, Spool
from daemon.processes.celery_app import make_app
from daemon.work import fetch, messages


@pytest.fixture
def worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a message to a worker of ours; what it then worked on, and the error it ended with."""
    app = make_app(Settings(spool=Spool(path=tmp_path / "spool")), "memory://")
    done: list[str] = []
    monkeypatch.setattr(fetch, "run", lambda context, row_id: done.append(row_id))

    def give(*args: object, **headers: object) -> tuple[list[str], str]:
        outcome = app.tasks["axrad.fetch"].apply(args=args, headers=headers)
        return list(done), "" if outcome.successful() else str(outcome.result)

    return give


def test_a_message_of_this_version_is_worked_on(worked_on: Any) -> None:
    assert worked_on("0123456789abcdef", **messages.HEADERS) == (["0123456789abcdef"], "")


def test_a_message_from_before_versions_were_told_is_worked_on(worked_on: Any) -> None:
    assert worked_on("0123456789abcdef") == (["0123456789abcdef"], "")


def test_a_message_of_a_newer_version_is_refused_with_the_reason(
    worked_on: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worked_on("0123456789abcdef", axrad_message=2) == ([], "message-too-new ()")
    assert "made by a newer axrad" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [17, {"id": "x"}, "", "a b", "x" * 65, "../etc", None])
def test_what_names_no_row_is_refused_and_not_repeated(
    worked_on: Any, wrong: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worked_on(wrong) == ([], "message-malformed ()")
    assert "does not name one opaque id" in capsys.readouterr().out
