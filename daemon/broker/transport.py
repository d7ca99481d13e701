"""Kombu's transport to Redis, for a Redis that answers and does not do what is asked: a replica, full, loading, locked.

Kombu takes such an answer for an error of one channel: Celery's worker ends with a traceback, or connects again at
once and for ever. Here every refusal is an error of the connection, and a connection is one that can be written to. So
a worker waits for such a broker as for one that is away, with growing pauses, and goes on by itself.
"""

from __future__ import annotations

from typing import Any  # Any: arguments of kombu, which ships no types

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import RedisError

from daemon.broker.redis_client import ERRORS, PROBE, PROBE_S, trouble_of
from daemon.logs import Recurring

NAME = "daemon.broker.transport:Transport"
log = structlog.get_logger("axrad.broker")
_away = Recurring(log, "broker-away")


class QoS(kombu_redis.QoS):  # type: ignore[misc]
    """A message whose acknowledgement the broker refuses counts as done here.

    Kombu only logs the refusal and counts the message as being worked on for ever: with one message at a time the
    worker would take no other, also when the broker is well again. The broker keeps the message and brings it once more
    after its visibility timeout; the ledger knows by then that there is nothing to do.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except ERRORS:
            self._quick_ack(delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue)
        except ERRORS:
            self._quick_ack(delivery_tag)
            raise


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """Kombu asks with PING, which a replica answers as well."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        opened = False
        try:
            super().__init__(*args, **kwargs)
            opened = True
            self.client.set(PROBE, "1", ex=PROBE_S)
        except ERRORS as error:
            trouble = trouble_of(error)
            _away.note(trouble.code, reason=trouble.message)
            if opened:
                self.close()
            raise


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, RedisError)
    channel_errors = ()


def install() -> None:
    """Have every connection of this process to a Redis made so."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = NAME
