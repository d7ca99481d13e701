"""`axrad refused`: what was not taken in, from whom, why, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.schema import Audit, Settings, Spool
from daemon import audit
from daemon.cli import refused
from daemon.cli.wording import WIDTH
from daemon.listener import statuses
from daemon.main import cli


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "axrad.toml").write_text('[spool]\npath = "spool"\n', encoding="utf-8")
    return Settings(spool=Spool(path=tmp_path / "spool"))


def said(tmp_path: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["refused", *arguments, "--config", str(tmp_path / "axrad.toml")])
    assert done.exception is None, done.output
    if "--json" not in arguments:
        assert all(len(line) <= WIDTH for line in done.stdout.splitlines()), done.stdout
    return done.stdout


def test_who_was_refused_is_said_with_the_reason_and_what_to_do(settings: Settings, tmp_path: Path) -> None:
    audit.refused_association(settings, "STRANGER", "10.1.2.3", "unknown-peer")
    audit.refused_instances(settings, "a-1", "SCANNER", "10.1.2.4", {"not-understood": 3, "too-large": 1})
    lines = [" ".join(line.split()) for line in said(tmp_path).splitlines()]
    assert any(line.endswith("STRANGER 10.1.2.3 association unknown-peer") for line in lines)
    assert any(line.endswith("SCANNER 10.1.2.4 3 instances not-understood") for line in lines)
    assert any(line.endswith("SCANNER 10.1.2.4 1 instance too-large") for line in lines)
    text = " ".join(lines)
    assert "unknown-peer: no [[peer]] has this AE title and address. What to do: if it may send: list it" in text
    assert "What to do: raise listen.max_instance_bytes" in text


def test_what_was_taken_or_sent_is_not_listed(settings: Settings, tmp_path: Path) -> None:
    study = audit.Study("1.2.3", {"1.2": 1})
    audit.received(settings, study, "SCANNER", "10.1.2.4", new=True)
    audit.sent(settings, study, "PACS", "10.1.2.5", "no answer")
    audit.activity(settings, started=True)
    assert said(tmp_path) == "Nothing has been refused.\n"


def test_only_the_newest_are_shown_and_a_line_that_was_cut_off_is_passed_over(
    settings: Settings, tmp_path: Path
) -> None:
    for number in range(5):
        audit.refused_association(settings, f"AE{number}", "10.1.2.3", "unknown-peer")
    with audit.trail_path(settings).open("a", encoding="utf-8") as trail:
        trail.write('{"EventIdentification":{"EventID"\n')
    found = json.loads(said(tmp_path, "--json", "--limit", "2"))["refused"]
    assert [item["calling_ae"] for item in found] == ["AE3", "AE4"]
    assert found[0]["reasons"] == {"unknown-peer": 1}


def test_without_a_trail_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "axrad.toml").write_text('[spool]\npath = "spool"\n[audit]\nenabled = false\n', encoding="utf-8")
    assert not Audit(enabled=False).enabled
    assert "The audit trail is off" in said(tmp_path)


def test_every_reason_there_is_has_its_meaning() -> None:
    reasons = {r.reason for r in statuses.ALL}
    reasons |= {r.reason for r in vars(statuses).values() if isinstance(r, statuses.Rejection)}
    assert reasons <= set(refused.MEANING)
    assert set(refused.REMEDIES) <= reasons


def test_a_lacking_right_is_no_association(settings: Settings, tmp_path: Path) -> None:
    audit.refused_right(settings, "SCANNER", "10.1.2.4", "echo")
    audit.refused_share(settings, "10.1.2.5", "wrong-token")
    audit.refused_association(settings, "", "10.1.2.6", "tls-handshake: no shared cipher")
    lines = [" ".join(line.split()) for line in said(tmp_path).splitlines()]
    assert any(line.endswith("SCANNER 10.1.2.4 echo right-lacking") for line in lines)
    assert any(line.endswith("(not said) 10.1.2.5 share wrong-token") for line in lines)
    text = " ".join(lines)
    assert "`may` of its [[peer]] does not have this right. What to do: if it may: add the right to `may`" in text
    assert "tls-handshake: no TLS connection came about" in text
    assert "Devices with old TLS" in text
    found = json.loads(said(tmp_path, "--json"))["refused"]
    assert [(item["what"], item["reasons"]) for item in found] == [
        ("echo", {"right-lacking": 1}),
        ("share", {"wrong-token": 1}),
        ("association", {"tls-handshake: no shared cipher": 1}),
    ]


def test_a_flood_is_said_once(settings: Settings, tmp_path: Path) -> None:
    for _ in range(40):
        audit.refused_share(settings, "10.9.9.9", "wrong-token")
    found = json.loads(said(tmp_path, "--json", "--limit", "100"))["refused"]
    assert [item["reasons"] for item in found] == [{"wrong-token": 1}] * 30 + [{"refusals-flood": 1}]
    assert found[-1]["what"] == "wrong-token"
    assert "more than 30 of the same kind" in " ".join(said(tmp_path).split())
