"""NumPy arrays from files that anybody may have made: what a file declares is compared with its bytes before memory
is asked for."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

# Pictures and masks of one exam have some tens of megabytes.
MOST_ARRAYS_BYTES = 1024**3
MOST_MEMBERS = 10_000


def array_of(content: bytes) -> npt.NDArray[np.generic]:
    """The array of a `.npy` file.

    Raises:
        ValueError: it is none, holds objects, or declares other sizes than it has bytes.
    """
    file = io.BytesIO(content)
    try:
        shape, fortran, dtype = _header(file)
    except (SyntaxError, TokenError, TypeError, MemoryError, RecursionError, OverflowError) as error:
        raise ValueError(f"the header of an array cannot be read: {type(error).__name__}") from error
    if dtype.hasobject or dtype.itemsize == 0 or any(length < 0 for length in shape):
        raise ValueError("an array holds objects or nothing, or has a negative length")
    begin = file.tell()
    # Python's integers: NumPy's would wrap around.
    declared = math.prod(shape) * dtype.itemsize
    if declared != len(content) - begin or len(shape) > 8:
        raise ValueError(f"an array declares {declared} bytes of values and has {len(content) - begin}")
    values = np.frombuffer(content, dtype=dtype, offset=begin).copy() if declared else np.empty(shape, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether the order is Fortran's, and type; NumPy itself refuses long headers."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"an array is in the unknown version {version} of its format")


def arrays_of(path: Path, *, most_bytes: int = MOST_ARRAYS_BYTES) -> dict[str, npt.NDArray[np.generic]]:
    """Every array of a `.npz` file, by its name.

    Raises:
        OSError, ValueError: it cannot be read, is none, or declares more than `most_bytes`.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > most_bytes or len(members) > MOST_MEMBERS:
                raise ValueError(f"it declares {declared} bytes in {len(members)} arrays")
            return {m.filename.removesuffix(".npy"): array_of(archive.read(m)) for m in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"it is no intact file of arrays: {error}") from error
