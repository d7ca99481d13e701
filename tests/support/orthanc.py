"""A throw-away Orthanc with DICOMweb, on free loopback ports; gone, with all it stored, at the end of the block.

    with orthanc(our_port=listener.port) as pacs:
        pacs.ae_title, pacs.dicom_port, pacs.dicomweb_url
        pacs.instances(), pacs.file(sop_instance_uid), pacs.upload(path)

Mark tests that use it `@pytest.mark.peer("orthanc")`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end

PLUGINS = Path("/usr/share/orthanc/plugins")


@dataclass
class Orthanc:
    """A running (or stopped, or started again on the same ports and storage) Orthanc."""

    folder: Path
    dicom_port: int
    http_port: int
    ae_title: str = "ORTHANC"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> bytes:
        """The body of a REST answer, e.g. `get("/instances")`."""
        with urllib.request.urlopen(self.url + path) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: bytes | dict[str, Any]) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def upload(self, path: Path) -> None:
        """Store one file, without DICOM networking."""
        self.post("/instances", path.read_bytes())

    def ids(self) -> dict[str, str]:
        """SOP Instance UID → Orthanc's own id."""
        listed = json.loads(self.get("/instances?expand"))
        return {item["MainDicomTags"]["SOPInstanceUID"]: item["ID"] for item in listed}

    def instances(self) -> list[str]:
        """SOP Instance UIDs of all that is stored."""
        return sorted(self.ids())

    def file(self, sop_instance_uid: str) -> bytes:
        """The stored file, with Orthanc's own file meta information."""
        return self.get(f"/instances/{self.ids()[sop_instance_uid]}/file")

    def delete(self, sop_instance_uid: str) -> None:
        request = urllib.request.Request(f"{self.url}/instances/{self.ids()[sop_instance_uid]}", method="DELETE")
        with urllib.request.urlopen(request):
            pass

    def send(self, modality: str, sop_instance_uids: Sequence[str]) -> None:
        """Have Orthanc C-STORE these to a modality it knows."""
        known = self.ids()
        self.post(f"/modalities/{modality}/store", {"Resources": [known[uid] for uid in sop_instance_uids]})

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                # Without the first, DCMTK inside it waits 40 ms for each image.
                env={
                    **os.environ,
                    "TCP_NODELAY": "1",
                    "LD_PRELOAD": str(_shim()),
                    "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
                },
            )
        wait_for(lambda: self._answers() or self._process.poll() is not None, "Orthanc to come up")
        assert self._process.poll() is None, "Orthanc did not come up: " + self.log()[-2000:]

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            wait_for_end(process, "Orthanc to end")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            self.get("/system")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True


@functools.cache
def _shim() -> Path:
    """The library that keeps a server on loopback: Orthanc 1.10 has no setting for it."""
    library = Path(tempfile.gettempdir()) / f"axrad-loopback-{os.getuid()}-{os.getpid()}.so"
    source = Path(__file__).with_name("loopback.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    import atexit

    atexit.register(library.unlink, missing_ok=True)
    return library


@contextmanager
def orthanc(
    our_port: int | None = None,
    our_ae_title: str = "AXRAD",
    modalities: dict[str, Any] | None = None,
    ports: tuple[int, int] | None = None,
    **options: Any,
) -> Iterator[Orthanc]:
    """Started, with our AE as modality `axrad` at `our_port` (storage commitment and C-MOVE go there).

    Args:
        modalities: further ones, as Orthanc's configuration has them: `{"name": ["AET", "127.0.0.1", port]}`.
        ports: of DICOM and HTTP; free ones otherwise.
        options: further keys of Orthanc's configuration, laid over ours.
    """
    folder = Path(tempfile.mkdtemp(prefix="axrad-orthanc-"))
    pacs = Orthanc(folder, *(ports or (free_port(), free_port())))
    ours = {"AET": our_ae_title, "Host": "127.0.0.1", "Port": our_port or 104, "AllowStorageCommitment": True}
    configuration = {
        "Name": "TEST",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": pacs.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": pacs.ae_title,
        "DicomPort": pacs.dicom_port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "UnknownSopClassAccepted": True,
        "SynchronousCMove": True,
        "StableAge": 1,
        "SaveJobs": False,
        "SyncStorageArea": False,
        "DicomModalities": {"axrad": ours, **(modalities or {})},
        "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    try:
        pacs.start()
        yield pacs
    finally:
        pacs.stop()
        shutil.rmtree(folder, ignore_errors=True)
