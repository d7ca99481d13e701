"""All instances below some files and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.catalog.facts import InstanceFacts
from pipeline.catalog.instance_reading import read_facts
from pipeline.errors import NotDicom


def scan(
    paths: Iterable[Path], progress: Callable[[int, int], None] | None = None
) -> tuple[list[InstanceFacts], list[tuple[Path, str]]]:
    """Facts of every readable file, and the files that are no DICOM, each with its reason.

    Folders are searched recursively, without following links to folders. An instance met twice (same SOP Instance
    UID) is kept once, the first in order of path; the second is listed with that reason. DICOMDIR files are passed
    over. `progress(done, all)` is called after each file.
    """
    files = list(_files(paths))
    instances: dict[str, InstanceFacts] = {}
    unreadable: list[tuple[Path, str]] = []
    for done, file in enumerate(files, start=1):
        try:
            facts = read_facts(file)
        except NotDicom as error:
            unreadable.append((file, error.message))
        else:
            uid = facts.ref.sop_instance_uid
            if uid in instances:
                unreadable.append((file, f"the same SOP instance as {instances[uid].path}: only that one is used"))
            else:
                instances[uid] = facts
        if progress is not None:
            progress(done, len(files))
    return list(instances.values()), unreadable


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                if name != "DICOMDIR" and not name.startswith("."):
                    yield Path(folder, name)
