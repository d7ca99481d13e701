"""What holds the house up: its names, what may load what, its errors, its licences."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("daemon", "dicom_sr", "pipeline", "config")
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# Signals inside one room: raised and caught there, never shown to anybody, so they are no part of the tree.
INTERNAL = {
    "Incomplete": "other bytes came than were announced; the shared spool answers 400",
    "BadValue": "a value that is no number; whoever needs it rejects the file, others go without",
    "BadCommand": "a DIMSE command set that cannot be read; the listener aborts the association",
    "ConfigError": "the configuration is read below the room that has the tree; the command line prints it",
    "Overtaken": "another process changed the row first; the ledger looks again",
    "TooLarge": "an exam has more than may be judged; the sweep holds it",
    "ProtocolViolation": "a PDU that is not allowed; the listener aborts the association",
    "Refusal": "one ROI's features; becomes a missing value with its reason",
    "TaskFailed": "what Flower and Celery see of an error: its code, without its cause",
    "Unusable": "a measurement that is not used; listed with its reason",
    "Unreadable": "bytes that are no data elements; becomes status C000",
    "Broken": "a codestream that contradicts its header; PixelsRejected where an image is read",
    "Died": "the child that decodes ended; PixelsRejected where an image is read",
    "_Died": "a process that reads headers ended; it is started again, and its file is set aside",
    "DamagedCoding": "a coded answer of the intake host that is damaged; PeerUnreachable in the client",
    "ModelRefused": "a site's model that is not run; ExamRejected with the reason where its process answers",
    "OutputRefused": "a site's model gives what its card does not say; ExamRejected where its process answers",
    "NotDecoded": "what a decoder says of its data; PixelsRejected where an image is read",
    "_Gone": "the child that decodes does not answer; Died once it has been ended",
    "Unusual": "a header that is not read quickly; pydicom reads the file",
}
COPYLEFT = re.compile(
    r"GPL|GNU|MPL|Mozilla|EUPL|CeCILL|CDDL|Eclipse Public|OSL-|copyleft|CC-BY-SA|Sleepycat", re.IGNORECASE
)
# Distribution and the licence it may have although it is copyleft; docs/decisions/0003-licences.md says why.
ALLOWED_COPYLEFT = {"certifi": "MPL-2.0"}


def python_files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}"


# Names


def distributions_with(name: str) -> set[str]:
    """Distributions that install a top-level package of this name, or have it as an editable install."""
    found = {canonicalize_name(d) for d in metadata.packages_distributions().get(name, ())}
    for distribution in metadata.distributions():
        files = [str(file) for file in distribution.files or ()]
        editable = any(re.fullmatch(r"__editable__.*\.(pth|py)", file) for file in files)
        declared = (distribution.read_text("top_level.txt") or "").split()
        if name in declared or (editable and any(file.startswith(f"{name}/") for file in files)):
            found.add(canonicalize_name(distribution.metadata["Name"]))
    return found


@pytest.mark.parametrize("name", ROOMS)
def test_the_import_name_of_a_room_belongs_to_axrad_alone(name: str) -> None:
    assert distributions_with(name) == {"axrad"}


@pytest.mark.parametrize("name", ROOMS)
def test_importing_a_room_from_anywhere_gives_our_folder(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}; print({name}.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()) == ROOT / name / "__init__.py"


# What loads what


def loaded_by(*packages: str) -> set[str]:
    """Top-level modules in a fresh interpreter that has imported every module of these packages."""
    script = f"""
import importlib, pkgutil, sys, warnings
warnings.simplefilter("ignore")
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
print(" ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_listener_loads_neither_the_science_nor_the_queue() -> None:
    loaded = loaded_by("daemon.listener", "daemon.spool")
    assert {"pynetdicom", "pydicom"} <= loaded, "this test looks at the wrong process"
    assert (
        loaded & {"SimpleITK", "radiomics", "sklearn", "highdicom", "scipy", "celery", "pandas", "matplotlib"} == set()
    )


def test_the_science_and_the_report_load_no_broker_ledger_or_network() -> None:
    loaded = loaded_by("pipeline", "dicom_sr")
    assert {"SimpleITK", "highdicom"} <= loaded, "this test looks at the wrong rooms"
    assert loaded & {"celery", "redis", "sqlalchemy", "pynetdicom", "flower", "kombu", "daemon"} == set()


def test_settings_load_nothing_of_ours_and_little_of_others() -> None:
    loaded = loaded_by("config")
    assert loaded & {"numpy", "pydicom", "daemon", "pipeline", "dicom_sr"} == set()


# Nothing that executes what it reads


def unsafe(path: Path) -> Iterator[str]:
    banned = {"pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "_pickle"}
    for node in ast.walk(tree_of(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle"):
            yield f"{where(path, node)} {node.attr}"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                yield f"{where(path, node)} allow_pickle is not False"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            yield f"{where(path, node)} {node.func.id}"
        for name in names:
            if name.partition(".")[0] in banned:
                yield f"{where(path, node)} imports {name}"


CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# Alembic runs these by their numbers.
WITHOUT_LAYERS = {"daemon.ledger.migrations", "daemon.ledger.migrations.versions"}


def rooms() -> list[str]:
    """Packages of more than one module or package."""
    folders = [path.parent for name in ROOMS for path in (ROOT / name).rglob("__init__.py")]
    inside = {folder: [*folder.glob("[!_]*.py"), *folder.glob("*/__init__.py")] for folder in folders}
    return [".".join(f.relative_to(ROOT).parts) for f, those in inside.items() if len(those) > 1]


def test_every_room_has_its_layers_in_one_contract_that_leaves_no_module_out() -> None:
    layered = [c for contract in CONTRACTS if contract.get("exhaustive") for c in contract["containers"]]
    assert sorted(layered) == sorted(set(rooms()) - WITHOUT_LAYERS)


def test_no_room_may_import_itself_in_a_circle() -> None:
    (contract,) = (contract for contract in CONTRACTS if contract["type"] == "acyclic_siblings")
    assert contract["ancestors"] == sorted(ROOMS)
    assert "depth" not in contract


def test_what_only_some_may_load_is_forbidden_also_to_rooms_that_come_later() -> None:
    """Such a contract is about whole folders and names those that may; a list of those that may not misses the next."""
    named_only = [
        contract for contract in CONTRACTS if contract["name"].startswith("Only ") and "source_modules" in contract
    ]
    assert len(named_only) > 5
    assert [contract["name"] for contract in named_only if not set(contract["source_modules"]) <= set(ROOMS)] == []


def test_no_code_of_ours_pickles_or_evaluates() -> None:
    assert [found for path in python_files() for found in unsafe(path)] == []


def test_a_pickle_would_be_noticed(tmp_path: Path) -> None:
    bad = ROOT / "daemon" / "bad.py"  # never written: only its name is needed
    tree = ast.parse("import pickle\nnumpy.load(f, allow_pickle=True)\npandas.read_pickle(f)\neval('1')\n")
    tree_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "tree_of", lambda path: tree)
        assert len(list(unsafe(bad))) == 4


# Names

# Words that tell nothing of what a variable holds.
RIDDLES = {"found", "kept", "said", "told"}


def riddles_in(source: str) -> list[str]:
    """Variables and arguments of functions that are named by such a word, with their lines. Fields of records may be
    keys of stored files, which stay."""
    functions = [f for f in ast.walk(ast.parse(source)) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
    nodes = [node for function in functions for node in ast.walk(function)]
    named = {(node.lineno, node.id) for node in nodes if isinstance(node, ast.Name)}
    named |= {(node.lineno, node.arg) for node in nodes if isinstance(node, ast.arg)}
    return [f"{line}: {name}" for line, name in sorted(named) if name in RIDDLES]


def test_a_variable_is_named_by_what_it_holds() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{riddle}" for path in python_files() for riddle in riddles_in(path.read_text())
    ]
    assert not places, f"the noun it is, segments, response, reason: {places}"


def test_a_variable_that_tells_nothing_would_be_noticed() -> None:
    assert riddles_in("told = 1\ndef f(kept):\n    found = kept\n") == ["2: kept", "3: found", "3: kept"]


# Types


def any_without_reason(source: str) -> list[int]:
    """Lines that use `typing.Any` without a comment `# Any: …`: at its import, on the line, or on the line above."""
    tree, lines = ast.parse(source), source.splitlines()

    def has_reason(number: int) -> bool:
        return "# Any: " in lines[number - 1] or (number > 1 and lines[number - 2].lstrip().startswith("# Any: "))

    names: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "typing_extensions"):
            names |= {alias.asname or "Any": has_reason(alias.lineno) for alias in node.names if alias.name == "Any"}
    uses = {
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and not names.get(node.id, True))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("typing.Any", "t.Any"))
    }
    return sorted(number for number in uses if not has_reason(number))


def test_each_any_has_its_reason() -> None:
    """`Any` turns type checking off; where nothing narrower is true, a comment says what is behind it."""
    places = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := any_without_reason(path.read_text(encoding="utf-8")))
    }
    assert not places, f"type these better, or say why not in a comment `# Any: …`: {places}"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from typing import Any\nx: Any = 1\n", [2]),
        ("from typing import Any as A\nx: list[A] = []\n", [2]),
        ("import typing\nx: typing.Any = 1\n", [2]),
        ("from typing import Any  # values of JSON\nx: Any = 1\n", [2]),
        ("from typing import Any\n# Any: values of JSON\nx: Any = 1\ny: Any = 1\n", [4]),
        ("from typing import Any  # Any: values of JSON\nx: Any = 1\n", []),
        ("from typing import Any\nx: Any = 1  # Any: values of JSON\n", []),
        ('"""Any text."""\n', []),
    ],
)
def test_an_any_without_a_reason_would_be_noticed(source: str, lines: list[int]) -> None:
    assert any_without_reason(source) == lines


# Errors


def exceptions() -> dict[str, tuple[list[str], str | None, str]]:
    """Name of every class of ours that ends up at Exception: its bases, its own code, where it is."""
    classes: dict[str, tuple[list[str], str | None, str]] = {}
    for path in python_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                # Two rooms may use the same name for different errors; each is looked at.
                name = node.name if node.name not in classes else f"{node.name} in {where(path, node)}"
                classes[name] = (bases, own_code(node), where(path, node))
    raisable = {"Exception", "BaseException"} | {
        name
        for name, kind in vars(__import__("builtins")).items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    grown = True
    while grown:
        new = {name for name, (bases, *_) in classes.items() if raisable & set(bases)} - raisable
        grown, raisable = bool(new), raisable | new
    return {name: found for name, found in classes.items() if name in raisable}


def own_code(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                return code
    return None


def drawn_tree() -> dict[str, str | None]:
    """Class → parent as the docstring of pipeline/errors.py draws them."""
    drawing = ast.get_docstring(tree_of(ROOT / "pipeline" / "errors.py"), clean=True) or ""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in drawing.splitlines():
        found = re.match(r"([ │├└─]*)([A-Z]\w+)(?:\s{2,}.*)?$", line)
        if found and (line.startswith(" ")):
            depth, name = len(found[1]), found[2]
            while above and above[-1][0] >= depth:
                above.pop()
            parents[name] = above[-1][1] if above else None
            above.append((depth, name))
    return parents


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    drawn = drawn_tree()
    here = {
        name: bases[0] for name, (bases, _, place) in exceptions().items() if place.startswith("pipeline/errors.py:")
    }
    assert drawn == here | {"AxradError": None}


def test_every_error_of_ours_grows_on_the_tree_or_is_known_as_internal() -> None:
    found, drawn = exceptions(), drawn_tree()

    def on_the_tree(name: str) -> bool:
        return name in drawn or any(on_the_tree(base) for base in found.get(name, ([], None, ""))[0])

    astray = {name: place for name, (_, _, place) in found.items() if not on_the_tree(name)}
    assert {name: place for name, place in astray.items() if name.partition(" in ")[0] not in INTERNAL} == {}
    assert set(INTERNAL) - {name.partition(" in ")[0] for name in astray} == set(), (
        "these are gone or on the tree by now"
    )


def test_codes_of_errors_are_kebab_case_and_each_is_used_by_one_class() -> None:
    codes: dict[str, str] = {}
    for name, (_, code, place) in exceptions().items():
        if code is not None:
            assert KEBAB.fullmatch(code), f"{place} {name}: {code}"
            assert code not in codes, f"{place} {name} and {codes.get(code)} have the same code {code}"
            codes[code] = name
    assert len(codes) > 10


def test_codes_given_where_an_error_is_raised_are_kebab_case() -> None:
    for path in python_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                value = node.value.value
                assert not isinstance(value, str) or KEBAB.fullmatch(value), f"{where(path, node.value)}: {value}"


# Licences and pins


def needed_at_run_time() -> dict[str, metadata.Distribution]:
    """axrad's requirements with those of its extras, and theirs with the extras that are asked for."""
    found: dict[str, metadata.Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [("axrad", frozenset({"research", "model"}))]
    seen = set(todo)
    while todo:
        name, extras = todo.pop()
        distribution = metadata.distribution(name)
        found[canonicalize_name(name)] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                entry = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if entry not in seen:
                    seen.add(entry)
                    todo.append(entry)
    return found


def licence(distribution: metadata.Distribution) -> str:
    """What it declares: the expression, else classifiers and first line of text, else the licence file's first line."""
    told = distribution.metadata
    expression = told.get("License-Expression")
    classifiers = [c for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    text = (told.get("License") or "").strip().partition("\n")[0]
    return expression or "; ".join([*classifiers, *([text] if text else [])]) or licence_file(distribution)


def licence_file(distribution: metadata.Distribution) -> str:
    for name in distribution.metadata.get_all("License-File") or ():
        for file in distribution.files or ():
            if file.name == Path(name).name:
                return file.read_text(encoding="utf-8").strip().partition("\n")[0]
    return ""


def is_copyleft(declared: str) -> bool:
    """Whether every choice that is offered is copyleft ("MIT OR GPL" is not)."""
    return all(COPYLEFT.search(choice) for choice in re.split(r"\bOR\b", declared))


def test_no_package_needed_at_run_time_is_copyleft() -> None:
    distributions = needed_at_run_time()
    assert {"pydicom", "celery", "simpleitk", "certifi"} <= set(distributions)
    declared = {name: licence(d) for name, d in distributions.items()}
    assert [name for name, text in declared.items() if not text] == []
    copyleft = {name: text for name, text in declared.items() if is_copyleft(text)}
    assert set(copyleft) == set(ALLOWED_COPYLEFT), copyleft


def test_each_exception_to_that_has_its_reason_written_down() -> None:
    reasons = (ROOT / "docs" / "decisions" / "0003-licences.md").read_text(encoding="utf-8")
    for name, kind in ALLOWED_COPYLEFT.items():
        assert name in reasons
        assert kind in reasons
        assert kind.partition("-")[0] in licence(metadata.distribution(name))


def test_pins_are_names_and_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!]*", line)] == []
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))


def test_every_package_needed_at_run_time_is_pinned() -> None:
    pinned = {
        canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert set(needed_at_run_time()) - {"axrad"} - pinned == set()


# Tests


# Waiting itself, and how long something that waits may take.
MAY_LOOK_AT_THE_WALL = {
    "tests/support/waiting.py": "the one place that waits",
    "tests/support/service.py": "a service manager's pause between two looks; nothing is given up by it",
    "tests/support/injector.py": "another process that holds SQLite's lock",
}


def waits_by_the_wall(node: ast.AST) -> bool:
    """A deadline, or a limit on how long something may take, where the machine may just be slow."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        sides += [side for both in sides if isinstance(both, ast.BinOp) for side in (both.left, both.right)]
        return any(isinstance(side, ast.Call) and called(side) == "monotonic" for side in sides)
    if not isinstance(node, ast.Call):
        return False
    number = (
        len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, int | float)
    )
    limits = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
    limited = any(not (isinstance(value, ast.Constant) and value.value is None) for value in limits)
    return limited or (called(node) in ("wait", "join") and number)


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_no_test_waits_by_the_wall() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name not in MAY_LOOK_AT_THE_WALL:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found += [f"{name}:{node.lineno}" for node in nodes if waits_by_the_wall(node)]
    assert not found, f"wait for what happens (tests/support/waiting.py): {found}"
