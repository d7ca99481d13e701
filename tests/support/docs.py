"""What the documentation consists of: pages, links, code blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<fence>```+) *(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]\n]*(?:\n[^\]\n]+)?)\]\((?P<target>[^)\s]+)\)")
INDENTED = re.compile(r"^(?: {4}|\t)(.+)$", re.MULTILINE)
RUN = "console run"


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` counts from 1."""

    page: Path
    line: int
    info: str
    text: str


@dataclass(frozen=True)
class Step:
    """A command in a `console run` block and what is shown below it."""

    line: int
    command: str
    shown: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """A command that is shown to be turned down."""
        return any(line.startswith(("axrad: ", "Error: ")) for line in self.shown)


def pages() -> list[Path]:
    """Every page that people read."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docker").rglob("*.md")]
    return sorted(found)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page, text.count("\n", 0, m.start()) + 1, m["info"].strip(), m["text"]) for m in FENCE.finditer(text)]


def prose(page: Path) -> str:
    """The page without its fenced blocks, every line in its place."""
    text = page.read_text(encoding="utf-8")
    return FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)


def links(page: Path) -> Iterator[tuple[str, bool]]:
    """Targets of links and images, and whether it is an image."""
    for found in LINK.finditer(INLINE.sub("", prose(page))):
        yield found["target"], bool(found["image"])


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (name := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(name)
    return found


# Commands


def command_lines(page: Path) -> Iterator[str]:
    """Everything on the page that calls axrad, each on one line: in blocks, in indented lines, in running text."""
    plain = prose(page)
    for text in [*(b.text for b in blocks(page)), "\n".join(INDENTED.findall(plain))]:
        for line in text.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:[$#] )?((?:[A-Z_]+=\S* )*(?:\S*/)?axrad (?!:).*)$", line)
            if found:
                yield found[1]
    for code in INLINE.findall(plain):
        if code.startswith("axrad "):
            yield code


def words_of(line: str) -> list[str]:
    """The arguments of `axrad` in such a line: without environment, comments, pipes and marks of grammar."""
    line = re.split(r"\s#\s|\s[|>&;]+\s|\s\d?>\s", line)[0]
    line = re.sub(r"[\[\]…]|\.\.\.", " ", line)
    words = shlex.split(line, posix=True)
    while words and not re.fullmatch(r"(\S*/)?axrad", words[0]):
        words.pop(0)
    return words[1:]


# Running what is shown


def steps(page: Path) -> list[Step]:
    """The commands of the blocks marked `console run`, in order; `\\` and `<<'END'` go on as in a shell."""
    return [step for block in blocks(page) if block.info == RUN for step in steps_of(block)]


def steps_of(block: Block) -> list[Step]:
    """The commands of one block with what is shown below each."""
    found: list[Step] = []
    command, shown, start = "", [], 0
    for number, line in enumerate([*block.text.splitlines(), "$ "], block.line + 1):
        if command.endswith("\\"):
            command = command[:-1] + line.strip()
        elif "<<'END'" in command and not command.endswith("\nEND"):
            command += f"\n{line}"
        elif line.startswith("$ "):
            if command:
                found.append(Step(start, command, tuple(shown)))
            command, shown, start = line[2:], [], number
        elif line.strip():
            shown.append(line.rstrip())
    return found


def run(step: Step, folder: Path, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """In a shell, in `folder`, with this interpreter's `axrad` and `python` in front and nothing of our settings."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        ["/bin/sh", "-c", step.command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def told_otherwise(step: Step, done: subprocess.CompletedProcess[str]) -> str:
    """What the page says that the command did not; empty if it is true.

    Lines are shown in their order, those of stderr last; some may be left out (a line `…` says so), the end of one may
    be cut off (`…` again), and numbers may be others: they depend on the machine and the moment.
    """
    if (done.returncode != 0) != step.fails:
        return f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    said = [_without_numbers(line) for line in (done.stdout + "\n" + done.stderr).splitlines()]
    position = 0
    for line in step.shown:
        if line.strip() == "…":
            continue
        beginning, cut, _ = _without_numbers(line).partition("…")
        for number, candidate in enumerate(said[position:], position + 1):
            if candidate == beginning or (cut and candidate.startswith(beginning)):
                position = number
                break
        else:
            return f"does not say {line!r} (or not there) but\n{done.stdout}{done.stderr}"
    return ""


def _without_numbers(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{8,64}\b", "#", line.strip())
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)*", "0", line))
