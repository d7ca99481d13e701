"""Records with arrays as one `.npz` file: arrays as arrays, everything else as JSON beside them; nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar  # Any: values of JSON

import numpy as np
import numpy.typing as npt

from pipeline.bounded_arrays import arrays_of
from pipeline.errors import InputRejected

Record = TypeVar("Record")
Arrays = Mapping[str, npt.NDArray[np.generic]]


def to_bytes(what: str, schema: str, described: Sequence[Mapping[str, object]], arrays: Arrays) -> bytes:
    """Records (`what` in the plural, the key of their JSON) as a file; the same records give the same bytes."""
    text = json.dumps({"schema": schema, what: described}, sort_keys=True)
    file = BytesIO()
    description = np.frombuffer(text.encode(), dtype=np.uint8)
    np.savez_compressed(file, allow_pickle=False, **arrays, description=description)
    return file.getvalue()


def read(
    path: Path, what: str, schema: str, record_of: Callable[[int, dict[str, Any], Arrays], Record]
) -> tuple[Record, ...]:
    """What `to_bytes` wrote; `record_of` makes a record of its number, its JSON, and the arrays of all.

    Raises:
        InputRejected: the file cannot be read, or is of another schema.
    """
    try:
        arrays = arrays_of(path)
        document = json.loads(arrays["description"].tobytes())
        if document["schema"] != schema:
            raise InputRejected(f"{path.name} holds {what} of another schema: {document['schema']}")
        return tuple(record_of(i, entry, arrays) for i, entry in enumerate(document[what]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputRejected(f"{path.name} holds no {what} that can be read") from error
