"""The same numbers of threads wherever an exam is evaluated: sums are then added in one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk
from threadpoolctl import threadpool_limits

# N4 sums its points in as many shares as ITK has threads, and on few voxels the last bits decide (see `bias.ordered`).
ITK_THREADS = 2


@contextmanager
def fixed_threads() -> Iterator[None]:
    """One BLAS thread, two of ITK's, and afterwards as before.

    Products are small here: BLAS threads would only wait for each other. The answer must not depend on how many cores
    a machine has, or how many of them a worker was given.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(ITK_THREADS)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
