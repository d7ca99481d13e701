"""What a decoding child is asked and what it answers: a length, a line of JSON, and as many bytes as the JSON says."""

from __future__ import annotations

import json
import struct
from typing import Any  # Any: values of JSON

LENGTH = struct.Struct("<L")
SIZE = "size"
# A line of JSON is short: a path at most.
MOST_JSON = 1 << 16

Message = dict[str, Any]


def packed(message: Message, data: bytes = b"") -> bytes:
    """The begin of a message, to be followed by `data`."""
    text = json.dumps(message | {SIZE: len(data)}).encode()
    return LENGTH.pack(len(text)) + text


def unpacked(text: bytes) -> Message:
    message = json.loads(text)
    if not isinstance(message, dict) or not isinstance(message.get(SIZE), int):
        raise ValueError("no message")
    return message
