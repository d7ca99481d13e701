"""Two installations on one database of one broker keep out of each other's way, and are told of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
import redis
from celery import Celery
from flower.utils.broker import RedisSocket

from config.schema import Broker, Settings
from config.schema import Spool as SpoolSection
from daemon.broker.foreign_keys import ForeignKeys, foreign_keys_at
from daemon.broker.redis_client import SOCKET_SCHEME, queue_lengths
from daemon.broker.server import EmbeddedBroker
from daemon.cli.doctor import examine
from daemon.ledger import installation, open_ledger
from daemon.processes.celery_app import make_app, make_context


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    broker = EmbeddedBroker(Settings(spool=SpoolSection(path=tmp_path / "broker" / "spool")))
    yield broker.start()
    broker.stop()


def installed(folder: Path, url: str) -> tuple[Settings, Celery, str]:
    """An installation with a ledger of its own; its application, and what its keys begin with."""
    settings = Settings.model_validate({"spool": {"path": folder / "spool"}, "broker": {"url": url}})
    ledger = open_ledger(settings)
    prefix = installation.prefix_of(ledger)
    ledger.close()
    return settings, make_app(settings, url), prefix


def keys(url: str) -> list[str]:
    with redis.Redis(unix_socket_path=url.removeprefix(SOCKET_SCHEME)) as client:
        return sorted(key.decode() for key in client.scan_iter())


def test_a_message_of_one_is_not_taken_by_the_other(tmp_path: Path, url: str) -> None:
    (_, one, first), (_, other, second) = installed(tmp_path / "a", url), installed(tmp_path / "b", url)
    one.send_task("axrad.analyse", args=["r"], ignore_result=True)
    assert queue_lengths(one, ["analyse"]) == {"analyse": 1}
    assert queue_lengths(other, ["analyse"]) == {"analyse": 0}
    with other.connection_for_read() as connection, pytest.raises(Empty):
        connection.SimpleQueue("analyse").get(block=False)
    with one.connection_for_read() as connection:
        connection.SimpleQueue("analyse").get(block=False).ack()
    other.send_task("axrad.deliver", args=["d"], ignore_result=True)
    assert first != second
    assert all(key.startswith((first, second)) for key in keys(url))


def test_flower_reads_the_length_of_our_queues(tmp_path: Path, url: str) -> None:
    _, app, _ = installed(tmp_path / "a", url)
    app.send_task("axrad.analyse", args=["r"], ignore_result=True)
    shown = RedisSocket(url, broker_options=app.conf.broker_transport_options)
    assert asyncio.run(shown.queues(["analyse"])) == [{"name": "analyse", "messages": 1}]


def test_doctor_tells_of_strangers_on_the_database(tmp_path: Path, url: str) -> None:
    settings, app, prefix = installed(tmp_path / "a", url)
    app.send_task("axrad.analyse", args=["r"], ignore_result=True)
    assert foreign_keys_at(url, prefix) == ForeignKeys()
    told = {f.code: f for f in examine(settings)}
    assert told["neighbours"].ok, told["neighbours"]

    _, other, theirs = installed(tmp_path / "b", url)
    other.send_task("axrad.analyse", args=["r"], ignore_result=True)
    with redis.Redis(unix_socket_path=url.removeprefix(SOCKET_SCHEME)) as client:
        client.set("session:42", "x")
    told = {f.code: f for f in examine(settings)}
    assert told["neighbours"].level == "warn"
    assert f"another installation of axrad ({theirs.split(':')[1]})" in told["neighbours"].text
    assert "another program (1 key)" in told["neighbours"].text


def test_what_an_older_version_had_announced_is_announced_again_under_the_prefix(tmp_path: Path, url: str) -> None:
    """It is not taken from the old queue: the new mark is not there, which is how a broker that lost all looks."""
    old = Celery("axrad", broker=url, set_as_current=False)
    old.conf.task_routes = {"axrad.*": {"queue": "analyse"}}
    old.send_task("axrad.analyse", args=["r"], ignore_result=True)
    settings, app, prefix = installed(tmp_path / "a", url)
    context = make_context(app, settings)
    again: list[str] = []
    context.if_emptied(lambda: again.append("announced"))
    context.if_emptied(lambda: again.append("twice"))
    context.ledger.close()
    assert again == ["announced"]
    told = {f.code: f for f in examine(settings)}["neighbours"]
    assert "what an axrad before 0.2.0 left" in told.text
    command = told.remedy.partition("`redis-cli -n 0 ")[2].partition("`")[0].split()
    assert command[0] == "DEL"
    assert {"analyse", "_kombu.binding.analyse"} <= set(command)
    with redis.Redis(unix_socket_path=url.removeprefix(SOCKET_SCHEME)) as client:
        client.delete(*command[1:])
    assert foreign_keys_at(url, prefix) == ForeignKeys(), keys(url)
    assert {f.code: f for f in examine(settings)}["neighbours"].ok


def test_what_every_celery_program_makes_is_not_ours_to_delete_beside_another_program(tmp_path: Path, url: str) -> None:
    with redis.Redis(unix_socket_path=url.removeprefix(SOCKET_SCHEME)) as client:
        client.set("axrad.mark", "1")
        client.set("unacked", "x")
        assert foreign_keys_at(url, "axrad:0:").old_keys == ("axrad.mark", "unacked")
        client.set("celery", "x")
    found = foreign_keys_at(url, "axrad:0:")
    assert found.old_keys == ("axrad.mark",)
    assert found.others == ("another program (2 keys)",)


def test_a_broker_that_is_away_is_no_matter_of_strangers(tmp_path: Path) -> None:
    settings = Settings(broker=Broker(url=f"{SOCKET_SCHEME}{tmp_path / 'nobody.sock'}"))
    told = {f.code: f for f in examine(settings.model_copy(update={"spool": SpoolSection(path=tmp_path / "spool")}))}
    assert "neighbours" not in told
    assert told["broker"].level == "fail"
