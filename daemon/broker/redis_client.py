"""All that is asked of a Redis beside Kombu's own traffic: can it be written to, whose keys are there, what waits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: a Celery application and its client; Celery ships no types

import redis
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import PeerUnreachable

# Kombu's name for a Redis behind a socket; redis-py calls it unix://.
SOCKET_SCHEME = "redis+socket://"
ANSWER_S = 5.0
# A key of ours in the broker; it is gone when the messages are.
MARK = "axrad.mark"


class BrokerTrouble(PeerUnreachable):
    """The broker does not take messages; the code says why."""

    code = "broker-away"


# First word of Redis' answer: our code, what it means, what to do.
ANSWERS = {
    "READONLY": ("broker-readonly", "is a read-only replica", "point broker.url at the primary"),
    "OOM": ("broker-full", "is out of memory", "raise its maxmemory"),
    "MISCONF": (
        "broker-misconfigured",
        "cannot save to its disk and takes nothing",
        "free its disk, or set stop-writes-on-bgsave-error no",
    ),
    "NOAUTH": ("broker-auth", "asks for a password", "put user and password into broker.url"),
    "WRONGPASS": ("broker-auth", "refuses our user or password", "correct them in broker.url"),
    "NOPERM": ("broker-auth", "does not allow our user what is needed", "allow it all commands but dangerous ones"),
    "LOADING": ("broker-loading", "is still loading its data", "wait"),
    "CLUSTERDOWN": ("broker-cluster", "is a cluster that is down", "set broker.url to a single Redis, not a cluster"),
    "MOVED": ("broker-cluster", "is a node of a cluster", "set broker.url to a single Redis, not a cluster"),
    "CROSSSLOT": ("broker-cluster", "is a node of a cluster", "set broker.url to a single Redis, not a cluster"),
    "MASTERDOWN": ("broker-replica", "is a replica without its primary", "point broker.url at the primary"),
    "NOREPLICAS": ("broker-replica", "has too few replicas to take anything", "bring its replicas back"),
}
# What the libraries between us and a broker raise: the base class of each.
ERRORS = (OperationalError, redis.RedisError, OSError)
# What is written to see whether anything can be.
PROBE, PROBE_S = "axrad.probe", 60


def trouble_of(error: BaseException) -> BrokerTrouble:
    """Any error of redis-py, kombu or a socket, by what the broker said. Nothing of its text is passed on."""
    word = ""
    cause: BaseException | None = error
    while cause is not None and word not in ANSWERS:
        word = str(getattr(cause, "status_code", None) or "") or str(cause).partition(" ")[0].strip(":")
        if isinstance(cause, redis.exceptions.AuthenticationError) and word not in ANSWERS:
            word = "WRONGPASS" if "required" not in str(cause) else "NOAUTH"
        cause = cause.__cause__ or cause.__context__
    if word in ANSWERS:
        code, what, remedy = ANSWERS[word]
        return BrokerTrouble(f"the broker {what} ({word}); {remedy}", code=code)
    return BrokerTrouble(f"the broker does not answer ({type(error).__name__}); is it up, and does broker.url hold?")


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Version and memory policy of a broker that takes messages; empty where it does not answer such commands."""

    version: str
    policy: str


def usable(url: str, patience_s: float = 5.0) -> BrokerFacts:
    """Write a key to the broker, to prove that it takes messages. Raises BrokerTrouble.

    A managed Redis forbids or renames CONFIG and INFO: what they would say is not needed to use it.
    """
    try:
        client = _connected(url, patience_s, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        raise BrokerTrouble("what broker.url says is no address of a Redis", code="broker-address") from error
    try:
        client.set(PROBE, "1", ex=PROBE_S)
        version = _optional(lambda: client.info("server").get("redis_version", ""))
        policy = _optional(lambda: client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except (*ERRORS, UnicodeError) as error:
        raise trouble_of(error) from error
    finally:
        client.close()
    return BrokerFacts(version, policy)


def _optional(ask: Callable[[], object]) -> str:
    try:
        return str(ask())
    except redis.exceptions.ResponseError:
        return ""


def _connected(url: str, patience_s: float = ANSWER_S, **options: Retry) -> redis.Redis:
    """A client that waits so long for a connection and for each answer. Raises ValueError for what is no address."""
    address = url.replace(SOCKET_SCHEME, "unix://", 1)
    return redis.Redis.from_url(address, socket_timeout=patience_s, socket_connect_timeout=patience_s, **options)


def shut_down(socket: Path) -> bool:
    """End the server behind a socket, without saving. False: it lives and does not answer.

    It is asked once: who starts anew should not wait a minute for redis-py's repetitions.
    """
    once = Retry(NoBackoff(), 0)
    client = redis.Redis(
        unix_socket_path=str(socket), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=once
    )
    try:
        client.shutdown(nosave=True)
    except redis.ConnectionError:
        return True  # it is gone already
    except redis.RedisError:
        return False
    finally:
        client.close()
    return True


def keys(url: str, most: int) -> frozenset[str]:
    """The keys of a database, at most so many; none where the server does not allow SCAN. Raises BrokerTrouble."""
    client = _connected(url)
    try:
        return frozenset(key.decode("utf-8", "replace") for key in itertools.islice(client.scan_iter(count=1000), most))
    except redis.exceptions.ResponseError:
        return frozenset()
    except (redis.RedisError, OSError) as error:
        raise trouble_of(error) from error
    finally:
        client.close()


# Through the connection of a Celery application, which puts the installation's prefix before each key


@contextmanager
def client_of(app: Any) -> Iterator[Any]:
    """A client of the application's broker, which takes what is written to it. Raises BrokerTrouble."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
            yield connection.default_channel.client
    except ERRORS as error:
        raise trouble_of(error) from error


def when_emptied(app: Any, action: Callable[[], None]) -> None:
    """Act if the broker has lost its keys (restarted without a file, flushed): the mark that we left there is gone."""
    with suppress(BrokerTrouble), client_of(app) as client:
        # Of Redis' commands for a key these two are among those that Kombu puts the prefix to.
        if client.hget(MARK, "here") is None:
            action()
            client.hset(MARK, "here", "1")


def queue_lengths(app: Any, queues: Iterable[str]) -> dict[str, int]:
    """Messages that wait in the broker, by queue; empty where the broker takes none."""
    with suppress(BrokerTrouble), client_of(app) as client:
        return {queue: int(client.llen(queue)) for queue in queues}
    return {}
