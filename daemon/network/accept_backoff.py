"""Connections that wait while nothing is left to take them with: they stay in the queue, and `accept` fails at once,
again and again. Whoever accepts rests a little then, or it would take a whole processor."""

from __future__ import annotations

import errno
import time
from http.server import ThreadingHTTPServer
from typing import Any

# Of this process, of the machine; memory.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REST_S = 0.1


class RestingServer(ThreadingHTTPServer):
    """An HTTP server that rests."""

    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SHORT:
                time.sleep(REST_S)
            raise
