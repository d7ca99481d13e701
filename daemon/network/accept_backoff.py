"""Accepting connections without descriptors or memory: `accept` fails at once while connections wait in the queue.

A server pauses after such a failure; otherwise its loop would use a whole processor.
"""

from __future__ import annotations

import errno

# Descriptors of this process, descriptors of the machine, memory.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REST_S = 0.1
