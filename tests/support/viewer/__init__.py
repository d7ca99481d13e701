"""A throw-away archive with the OHIF viewer in front of it, and a browser that says what is to be seen."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for, wait_for_end

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FOLDER = Path(os.environ.get("AXRAD_VIEWER_FOLDER", ROOT / ".venv" / "viewer"))
OHIF = "3.13.2"


def missing(version: str = OHIF) -> str | None:
    """What the viewer lacks here, or None."""
    if not (FOLDER / f"ohif-{version}").is_dir() or not (FOLDER / "node_modules" / "playwright-core").is_dir():
        return f"no OHIF {version} in {FOLDER.name} (script/peers-viewer installs it)"
    if orthanc_program() is None:
        return "Orthanc is not installed"
    return None


def orthanc_program() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str | Path], log: Path, **kwargs: Any) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as err:
        process = subprocess.Popen([str(c) for c in command], stderr=err, text=True, **kwargs)
        try:
            yield process
        finally:
            process.terminate()
            wait_for_end(process)
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def archive(folder: Path) -> Iterator[str]:
    """Orthanc with DICOMweb and its own viewer on a free port; the URL."""
    program = orthanc_program()
    assert program is not None
    port = free_port()
    plugins = Path("/usr/share/orthanc/plugins")
    settings = {
        "Name": "axrad test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [
            str(p) for p in (plugins / "libOrthancDicomWeb.so", plugins / "libOrthancWebViewer.so") if p.exists()
        ],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
        "WebViewer": {"CachePath": str(folder / "cache")},
    }
    (folder / "db").mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}"
    with _running([program, folder / "orthanc.json"], folder / "orthanc.log", stdout=subprocess.DEVNULL):
        _wait(f"{url}/system")
        yield url


def _wait(url: str) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    wait_for(answers, f"an answer of {url}")


def upload(url: str, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Put files into the archive; its answers."""
    answers = []
    for path in paths:
        request = urllib.request.Request(f"{url}/instances", data=path.read_bytes(), method="POST")
        with urllib.request.urlopen(request) as answer:
            answers.append(json.load(answer))
    return answers


@contextlib.contextmanager
def ohif(archive_url: str, folder: Path, version: str = OHIF) -> Iterator[str]:
    """The viewer in front of the archive; the URL."""
    dist = FOLDER / f"ohif-{version}" / "package" / "dist"
    command: list[str | Path] = ["node", HERE / "server.mjs", dist, archive_url]
    with _running(command, folder / "server.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class View:
    """What one series looked like: the text on the screen, and the screenshot."""

    title: str
    text: str
    crashed: bool
    picture: Path
    absent: bool = False


def look(url: str, study_uid: str, titles: list[str], out: Path, settle_s: float = 7.0) -> tuple[list[str], list[View]]:
    """Open each series that has one of these descriptions; all series' captions, and the views.

    `first.png` in `out` is the screen before any is opened.
    """
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "NODE_MODULES": str(FOLDER), "SETTLE_MS": str(int(settle_s * 1000))}
    command = ["node", str(HERE / "look.mjs"), url, study_uid, str(out), *titles]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout.splitlines()[-1])
    views = [
        View(v["title"], v["text"], v["crashed"], out / f"{i}.png", v.get("absent", False))
        for i, v in enumerate(document["views"])
    ]
    return document["series"], views


def read(url: str, study_uid: str, out: Path, **work: Any) -> dict[str, Any]:
    """Work as a reader: `measure=[...]` axes or `edit={...}` a segmentation, as `read.mjs` says; what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    order = {"base": url, "study": study_uid, "out": str(out), **work}
    environment = {**os.environ, "NODE_MODULES": str(FOLDER)}
    command = ["node", str(HERE / "read.mjs")]
    done = subprocess.run(command, input=json.dumps(order), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def browses() -> bool:
    """Whether there is all that `browse` needs."""
    return all((FOLDER / "node_modules" / name).is_dir() for name in ("axe-core", "playwright-core"))


class Browser:
    """One Chromium for many orders, as `browse.mjs` says.

    `visited`: method and path of every answer that was no refusal, and how wide the window was.
    """

    def __init__(self) -> None:
        self.visited: set[tuple[str, str, int]] = set()
        environment = {**os.environ, "NODE_MODULES": str(FOLDER)}
        self._process = subprocess.Popen(
            ["node", str(HERE / "browse.mjs")], env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            wait_for_end(process)

    def browse(
        self, base: str, steps: Sequence[dict[str, Any]], out: Path | None = None, *, quiet: bool = True, **how: Any
    ) -> list[dict[str, Any]]:
        """Somebody at the browser; what was seen, which was whole and not too wide each time.

        `quiet`: nor did the browser complain of anything.
        """
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        order = {"base": base, "out": None if out is None else str(out), "steps": steps, **how}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"][-3000:]
        self.visited |= {
            (method, path, how.get("width", 1280)) for method, path, status in answer["answers"] if status < 400
        }
        looks: list[dict[str, Any]] = answer["looks"]
        for look in looks:
            _require_whole(look, quiet=quiet)
        return looks


def _require_whole(look: dict[str, Any], *, quiet: bool) -> None:
    # Chromium complains of a page that is refused; what the test expects is its matter.
    complaints = [c for c in look["complaints"] if f"status of {look['status']}" not in c]
    troubles = {"faults": look["faults"], "alerts": look["alerts"], "pictures": look["picturesBroken"]}
    assert not any(troubles.values()), (look["name"], troubles)
    assert not (quiet and complaints), (look["name"], complaints)
    assert look["wide"] <= 0, f"{look['name']} is {look['wide']} pixels wider than the window"
    assert look["scripts"] == 0
