"""So many tries each, then one more every few seconds: wrong tokens of an address, attempts to sign in."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# Of wrong tokens.
TRIES, REFILL_S = 30, 2.0
# Who is remembered; those that tried longest ago are forgotten.
MAX_KEYS = 4096


@dataclass(slots=True)
class _Bucket:
    tries: float
    at: float


class Tries:
    """A bucket of tries for each key, an address for one: `tries`, then one more each `refill_s`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, tries: int = TRIES, refill_s: float = REFILL_S
    ) -> None:
        self._clock, self._tries, self._refill_s = clock, tries, refill_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def count(self, key: str) -> int:
        """Note a try; how many seconds there are to wait for the next, 0 while there are tries left."""
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(self._tries, now)
        bucket.tries = min(self._tries, bucket.tries + (now - bucket.at) / self._refill_s)
        bucket.at = now
        self._buckets[key] = bucket
        while len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        if bucket.tries >= 1:
            bucket.tries -= 1
            return 0
        return max(1, math.ceil((1 - bucket.tries) * self._refill_s))
