"""A broker that answers and does not do what it is there for: everybody says so, and workers wait for it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from config.schema import Broker, Settings, Spool
from daemon.broker.redis_client import BrokerFacts, BrokerTrouble, client_of, queue_lengths, trouble_of, usable
from daemon.broker.transport import install
from daemon.cli.doctor import examine
from daemon.ledger import heartbeats, open_ledger
from daemon.observer.observing import pages
from daemon.processes.celery_app import make_app
from daemon.processes.supervisor import axrad_command
from tests.support.redis_server import answering, running_redis, url_of
from tests.support.waiting import wait_for, wait_for_end

pytestmark = pytest.mark.peer("redis-server")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    with running_redis(tmp_path / "redis") as client:
        yield client


def readonly(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def full(client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")


def locked(client: redis.Redis) -> None:
    client.config_set("requirepass", "s3cret")


STATES = {"readonly": (readonly, "broker-readonly"), "full": (full, "broker-full"), "locked": (locked, "broker-auth")}


@pytest.mark.parametrize("state", STATES)
def test_a_broker_that_takes_nothing_is_told_with_what_to_do(server: redis.Redis, state: str) -> None:
    assert usable(url_of(server)).policy == "noeviction"
    put, code = STATES[state]
    put(server)
    with pytest.raises(BrokerTrouble) as told:
        usable(url_of(server))
    assert told.value.code == code
    assert "; " in told.value.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"LOADING Redis is loading the dataset in memory", "broker-loading"),
        (b"CLUSTERDOWN The cluster is down", "broker-cluster"),
        (b"MOVED 3999 127.0.0.1:6381", "broker-cluster"),
        (
            b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
            "broker-misconfigured",
        ),
        (b"READONLY You can't write against a read only replica.", "broker-readonly"),
        (b"OOM command not allowed when used memory > 'maxmemory'.", "broker-full"),
        (b"MASTERDOWN Link with MASTER is down", "broker-replica"),
        (b"NOREPLICAS Not enough good replicas to write.", "broker-replica"),
        (b"NOPERM User app has no permissions to run the 'set' command", "broker-auth"),
        (b"WRONGPASS invalid username-password pair", "broker-auth"),
        (b"ERR something that nobody foresaw", "broker-away"),
    ],
)
def test_every_refusal_is_told_apart(answer: bytes, code: str, tmp_path: Path) -> None:
    with answering(answer) as url:
        with pytest.raises(BrokerTrouble) as told:
            usable(url)
        assert told.value.code == code
        assert "nobody foresaw" not in told.value.message, "what a server says is not passed on"
        settings = Settings(spool=Spool(path=tmp_path / "spool"), broker=Broker(url=url))
        assert queue_lengths(make_app(settings, url), ["analyse"]) == {}


@pytest.mark.parametrize("url", ["redis://no-such-host.invalid:1/0", "redis://127.0.0.1:1/0", "redis://a..b:1/0"])
def test_a_broker_that_is_not_there_is_away(url: str) -> None:
    with pytest.raises(BrokerTrouble) as told:
        usable(url)
    assert told.value.code == "broker-away"


def test_what_a_managed_redis_forbids_is_not_needed(server: redis.Redis) -> None:
    server.acl_setuser(
        "app", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], categories=["+@all", "-@dangerous"]
    )
    who = "app:pw@"
    with pytest.raises(redis.exceptions.NoPermissionError):
        redis.Redis.from_url(url_of(server, who)).config_get("maxmemory-policy")
    assert usable(url_of(server, who)) == BrokerFacts("", "")


def test_a_refusal_below_other_errors_is_found() -> None:
    outer = OSError("wrapped")
    outer.__cause__ = redis.exceptions.ReadOnlyError("You can't write.", status_code="READONLY")
    assert trouble_of(outer).code == "broker-readonly"


# Who uses it


@pytest.fixture
def house(server: redis.Redis, tmp_path: Path) -> Settings:
    config = tmp_path / "axrad.toml"
    url = url_of(server)
    config.write_text(
        f'[spool]\npath = "spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n[broker]\nurl = "{url}"\n'
        '[assembly]\nsweep_s = 0.3\n[log]\nformat = "json"\n'
        "[metrics]\nhealth_timeout_s = 2.0\nhealth_every_s = 0.001\nport = 0\n",
        encoding="utf-8",
    )
    (tmp_path / "spool").mkdir()
    settings = Settings.model_validate(
        {
            "spool": {"path": tmp_path / "spool", "warn_free_bytes": 1, "refuse_free_bytes": 1},
            "broker": {"url": url},
            "metrics": {"health_timeout_s": 2.0, "health_every_s": 0.001, "port": 0},
        }
    )
    open_ledger(settings).close()
    return settings


class Process:
    """A command of the daemon, and what it says."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said = folder / f"{arguments[0]}.log"
        with self.said.open("wb") as out:
            command = [*axrad_command(), *arguments, "--config", str(folder / "axrad.toml")]
            environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environ)

    def events(self) -> list[dict[str, object]]:
        lines = self.said.read_text().splitlines()
        assert all(line.startswith("{") for line in lines), "a traceback: " + "\n".join(lines)
        return [json.loads(line) for line in lines]

    def away(self, event: str = "broker-away") -> list[object]:
        return [e["code"] for e in self.events() if e["event"] == event]

    def end(self) -> None:
        self.process.terminate()
        wait_for_end(self.process)


def swept(settings: Settings) -> int:
    """When the last sweep was."""
    ledger = open_ledger(settings)
    with ledger.read() as connection:
        row = heartbeats.last_sign(connection, "sweep")
    ledger.close()
    return 0 if row is None else int(row.at * 1000)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("state", ["readonly", "full"])
def test_workers_and_beat_wait_for_a_broker_that_takes_nothing_and_go_on(
    house: Settings, server: redis.Redis, tmp_path: Path, state: str
) -> None:
    put, code = STATES[state]
    processes = [Process(tmp_path, "work", "--role", "sweep"), Process(tmp_path, "beat")]
    try:
        wait_for(lambda: swept(house) > 0, "a sweep")
        put(server)
        # To wait for a message is to write, as a replica sees it. Where memory is short it is not, and a worker that
        # has acknowledged all that came has nothing to notice it by.
        noticing = processes if state == "readonly" else processes[1:]
        wait_for(lambda: all(set(p.away()) == {code} for p in noticing), "the broker's state to be noticed")
        assert [p.process.poll() for p in processes] == [None, None]
        server.replicaof("NO", "ONE")
        server.config_set("maxmemory", "0")
        before = swept(house)
        wait_for(lambda: swept(house) > before, "a sweep again")
        for process in processes:
            assert process.process.poll() is None
            assert len(process.events()) < 10, process.said.read_text()
    finally:
        for process in processes:
            process.end()


@pytest.mark.parametrize("done", ["ack", "reject"])
def test_a_message_whose_acknowledgement_is_refused_holds_up_no_other(server: redis.Redis, done: str) -> None:
    """A worker takes one message at a time: one that counts as being worked on for ever would be its last."""
    install()
    with Connection(url_of(server)) as connection, connection.channel() as channel:
        channel.basic_qos(0, 1, False)
        queue = connection.SimpleQueue("one-at-a-time", channel=channel)
        for text in ("first", "second"):
            queue.put(text)
        first = queue.get()
        server.replicaof("127.0.0.1", 1)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            getattr(first, done)()
        server.replicaof("NO", "ONE")
        assert channel.qos.can_consume()
        assert queue.get().payload == "second"


@pytest.mark.timeout(180)
def test_workers_and_beat_that_start_without_their_ledger_wait_for_it_and_go_on(
    house: Settings, tmp_path: Path
) -> None:
    ledger, elsewhere = tmp_path / "ledger.sqlite", tmp_path / "elsewhere"
    ledger.rename(elsewhere)
    processes = [Process(tmp_path, "work", "--role", "sweep"), Process(tmp_path, "beat")]
    try:
        wait_for(lambda: all(p.away("ledger-away") for p in processes), "both to notice")
        assert [p.process.poll() for p in processes] == [None, None]
        elsewhere.rename(ledger)
        wait_for(lambda: swept(house) > 0, "a sweep")
        assert [p.process.poll() for p in processes] == [None, None]
        assert [p.away("ledger-away") for p in processes] == [["ledger-damaged"], ["ledger-damaged"]]
    finally:
        for process in processes:
            process.end()


def test_health_doctor_and_status_are_not_green_with_a_broker_that_only_reads(
    house: Settings, server: redis.Redis, tmp_path: Path
) -> None:
    readonly(server)
    ledger = open_ledger(house)
    with pages(house, ledger) as served:
        status, _, body = served.answer("/health/ready")
        figures = served.answer("/metrics")[2].decode()
    ledger.close()
    checks = {check["name"]: check for check in json.loads(body)["checks"]}
    assert status == 503
    assert "read-only replica" in checks["broker"]["text"]
    assert not any(checks[name]["ok"] for name in checks if name.startswith("queue-"))
    assert checks["ledger"]["ok"]
    assert "axrad_broker_up 0.0" in figures
    for command in ("doctor", "status"):
        done = subprocess.run(
            [*axrad_command(), command, "--config", str(tmp_path / "axrad.toml")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Point broker.url at the primary" in done.stdout or "point broker.url at the primary" in done.stdout
        assert "Traceback" not in done.stderr
    (told,) = [finding for finding in examine(house) if finding.code == "broker"]
    assert (told.remedy, "point broker.url at the primary" in told.text) == ("", True), "one remedy, its own"


def test_asking_the_broker_raises_one_kind_of_error(house: Settings, server: redis.Redis) -> None:
    app = make_app(house, url_of(server))
    with client_of(app) as client:
        assert client.llen("analyse") == 0
    locked(server)
    with pytest.raises(BrokerTrouble), client_of(app):
        pass
