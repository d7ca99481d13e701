"""Accepting connections without descriptors or memory: `accept` fails at once while connections wait in the queue.

A server pauses after such a failure; otherwise its loop would use a whole processor.
"""

from __future__ import annotations

import errno
import socket
import time
from http.server import ThreadingHTTPServer
from typing import Any  # Any: an address, whose form depends on the family of the socket

# Descriptors of this process, descriptors of the machine, memory.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REST_S = 0.1


class RestingServer(ThreadingHTTPServer):
    """An HTTP server that pauses when `accept` lacks descriptors or memory."""

    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SHORT:
                time.sleep(REST_S)
            raise
