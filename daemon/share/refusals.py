"""Refusals on their way to the audit trail: not more than a reader wants, and never in the way of other requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from daemon.share.tries import Tries

# Address and reason of who was refused.
Told = Callable[[str, str], None]
MAX_WARNED = 4096
AND_MORE = "; further ones are not listed"


@contextmanager
def told_in_background(told: Told) -> Iterator[Told]:
    """Tells in a thread, in order; of the same address and kind of refusal so many, and then that there are more."""
    lines, warned = Tries(), set[str]()
    with ThreadPoolExecutor(1, "share-refusals") as thread:

        def tell(address: str, reason: str) -> None:
            key = f"{address} {reason.partition(':')[0]}"
            if not lines.count(key):
                warned.discard(key)
                thread.submit(told, address, reason)
            elif key not in warned and len(warned) < MAX_WARNED:
                warned.add(key)
                thread.submit(told, address, reason + AND_MORE)

        yield tell
